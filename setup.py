"""Builds the compiled form of the hot modules where MQD_COMPILED=1 asks for it, else nothing.

`scripts/compile` is what asks for it. Everything else about the package is in setup.cfg.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from setuptools import Extension, setup

COMPILED_MODULES: Final = (
    "mqwire.framelog_bodies",
    "mqwire.frames",
    "mqwire.packs",
    "mqwire.polling",
    "mqwire.requests",
    "mqclient.blocking",
    "mqclient.inflight",
    "mqclient.polling",
    "mqd.core.access",
    "mqd.core.broker",
    "mqd.core.cold",
    "mqd.core.deadlines",
    "mqd.core.fifo",
    "mqd.core.held",
    "mqd.core.job_state",
    "mqd.core.jobs",
    "mqd.core.keys",
    "mqd.core.lanes",
    "mqd.core.leases",
    "mqd.core.messages",
    "mqd.core.order_state",
    "mqd.core.paging",
    "mqd.core.parcels",
    "mqd.core.places",
    "mqd.core.queue",
    "mqd.core.results",
    "mqd.core.retries",
    "mqd.core.rooms",
    "mqd.core.rows",
    "mqd.core.shelves",
    "mqd.core.steps",
    "mqd.core.view_state",
    "mqd.store.journal",
    "mqd.store.pieces",
    "mqd.store.recordlog",
    "mqd.store.segments",
    "mqd.engine.base",
    "mqd.engine.commits",
    "mqd.engine.deliveries",
    "mqd.engine.durable",
    "mqd.engine.jobs",
    "mqd.engine.local",
    "mqd.engine.news",
    "mqd.engine.steps",
    "mqd.engine.waits",
    "mqd.net.busy_poll",
    "mqd.net.crowd",
    "mqd.net.frame_log",
    "mqd.net.inbox",
    "mqd.net.job_verbs",
    "mqd.net.meters",
    "mqd.net.outbox",
    "mqd.net.push_verbs",
    "mqd.net.replies",
    "mqd.net.run_replies",
    "mqd.net.runs",
    "mqd.net.server",
    "mqd.net.session",
    "mqd.net.splicing",
    "mqd.net.tap",
    "mqd.net.ticker",
    "mqd.net.verbs",
)
"""What runs for each frame or each turn; docs/adr/0026-compiled.md says what cannot stand here."""


def extensions() -> list[Extension]:
    """Return what is to be compiled."""
    if os.environ.get("MQD_COMPILED") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  only where it is needed

    root = Path(__file__).parent
    c_sources = tempfile.mkdtemp(prefix="mqd-c-")
    atexit.register(shutil.rmtree, c_sources)
    files = [str(Path(*name.split(".")).with_suffix(".py")) for name in COMPILED_MODULES]
    return mypycify(
        ["--config-file", str(root / "setup.cfg"), *files],
        opt_level="2",
        debug_level="0",
        multi_file=True,
        target_dir=c_sources,
    )


if __name__ == "__main__":
    setup(ext_modules=extensions())
