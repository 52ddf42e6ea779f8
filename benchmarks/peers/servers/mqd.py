"""mqd, out of this checkout, with its full frame log."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, ClassVar

import mqwire
from benchmarks.peers.servers.base import HOST, Mode, PeerServer
from mqd.core.checksum import crc32
from mqd.form import WORDS
from mqwire.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMON = (
    "frame_log.level=full",
    "queues.max_messages=100000000",
    "queues.max_bytes=1099511627776",
    "limits.max_connections=20000",
)


class MqdServer(PeerServer):
    """An mqd of this checkout."""

    program = sys.executable
    package = "this checkout"
    modes: ClassVar[Mapping[str, Mode]] = {
        "memory": Mode(
            "memory",
            "an answer means nothing for a crash: no journal",
            ("storage.journal=false", *COMMON),
        ),
        "written": Mode(
            "kernel",
            "the journal is written before the answer, and synced within a second",
            ("storage.durability=written", *COMMON),
        ),
        "synced": Mode(
            "disk",
            "the journal is synced before the answer (the default)",
            ("storage.durability=synced", *COMMON),
        ),
    }

    def __init__(self, mode: str, directory: Path) -> None:
        super().__init__(mode, directory)
        self._address_file = directory / "address.json"

    @classmethod
    def version(cls) -> str:
        """Return the version of what is installed, its form, and whose checksums it has."""
        sums = crc32.__module__.partition(".")[0]
        python = platform.python_version()
        return f"mqd {mqwire.__version__}{WORDS} on Python {python}, checksums of {sums}"

    def command(self) -> list[str]:
        """Return what is run, for the port that was chosen."""
        command = [self.program, "-m", "mqd", "--host", HOST, "--port", str(self.port)]
        command += ["--address-file", str(self._address_file)]
        return [*command, "--data-dir", str(self.directory / "data")]

    def environment(self) -> dict[str, str]:
        """Return the variables that it runs with."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("MQD_")}
        for setting in self.mode.settings:
            key, _, value = setting.partition("=")
            own[f"MQD_{key.upper().replace('.', '__')}"] = value
        return own

    def start(self) -> None:
        """Start it on a free port, and wait until it serves."""
        self._address_file.unlink(missing_ok=True)
        super().start()
        self.secret = Address.from_json(self._address_file.read_text()).token

    def is_ready(self) -> bool:
        """Tell whether it serves: the address file is the last that it writes."""
        return self._address_file.exists()
