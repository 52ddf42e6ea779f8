"""beanstalkd: a queue is a tube; a message is taken with `reserve` and gone with `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers.servers.base import HOST, Mode, PeerServer, printed_by

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = "-z 1048576"


class BeanstalkdServer(PeerServer):
    """A beanstalkd of this machine."""

    program = "beanstalkd"
    package = "beanstalkd"
    modes: ClassVar[Mapping[str, Mode]] = {
        "memory": Mode("memory", "an answer means nothing for a crash: no binlog", (MAX_BODY,)),
        "binlog": Mode(
            "kernel",
            "the binlog is written before the answer, and synced every 50 ms (its default)",
            (MAX_BODY, "-b DIRECTORY", "-f 50"),
        ),
        "always": Mode(
            "disk",
            "the binlog is synced before the answer",
            (MAX_BODY, "-b DIRECTORY", "-f 0"),
        ),
    }

    @classmethod
    def version(cls) -> str:
        """Return the version of what is installed."""
        return printed_by(cls.program, "-v").strip()

    def command(self) -> list[str]:
        """Return what is run, for the port that was chosen."""
        command = [self.program, "-l", HOST, "-p", str(self.port)]
        for setting in self.mode.settings:
            command += setting.replace("DIRECTORY", str(self.directory)).split(" ", 1)
        return command
