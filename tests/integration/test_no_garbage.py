"""The collector looks at young objects alone, so a session may leave no cycle behind."""

from __future__ import annotations

import asyncio
import gc

from support.gated_server import gated_server


async def _open_and_close(server):
    connection = await server.connect()
    await connection.call(
        "AUTH", {"user": "admin", "password": ""}, {"instance": "worker", "keepalive": 60}
    )
    await connection.call("CREATE", "jobs", {"if_missing": True})
    await connection.call("PULL", "jobs", 1, {"lease": 5, "wait": 0.001})
    await connection.call("PULL", "nowhere", 1)
    connection.writer.close()
    await connection.writer.wait_closed()


async def test_connections_that_have_ended_leave_nothing_for_the_collector(tmp_path):
    async with gated_server(tmp_path) as server:
        await _open_and_close(server)
        while server.server._sessions:
            await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await _open_and_close(server)
            while server.server._sessions:
                await asyncio.sleep(0)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert "Session" not in left
    assert "Pending" not in left
