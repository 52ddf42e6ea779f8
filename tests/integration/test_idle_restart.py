"""A server that nobody talks to after its start: time passes for it all the same."""

from __future__ import annotations

from support.gated_server import gated_server


async def test_leases_of_before_a_restart_end_though_nobody_comes(tmp_path):
    async with gated_server(tmp_path) as server:
        worker = await server.connect()
        await worker.call("AUTH", {"user": "admin", "password": ""}, {"instance": "w"})
        await worker.call("CREATE", "jobs")
        await worker.call("PUSH", "jobs", 1, b"\x01")
        assert len(await worker.call("PULL", "jobs", 1, {"lease": 3600})) == 6
    async with gated_server(tmp_path) as server:
        assert server.server._ticker._armed_ms is not None
        server.server.engine.jobs.now_ms = server.server._ticker._armed_ms
        server.server.engine.jobs.expire()
        assert server.server.engine.info("jobs")["ready"] == 1
