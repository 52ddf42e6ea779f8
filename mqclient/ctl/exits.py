"""Exit codes, and the exception that carries one with its sentence. Floor 4.

Scripts decide by these numbers, so each is as fixed as a verb of the protocol.
"""

from __future__ import annotations

from typing import Final

import click

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
CANNOT_CONNECT: Final = 3
REFUSED: Final = 4
EMPTY: Final = 5
TIMED_OUT: Final = 6
FAILED: Final = 7
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    INTERNAL: "something unexpected failed, on this side or on the other",
    USAGE: "the command line, an input or an address cannot be used",
    CANNOT_CONNECT: "no connection to a server, or it was lost",
    REFUSED: "the server refused; its error code is in the message",
    EMPTY: "no message came, or none was there",
    TIMED_OUT: "no answer within --timeout; wait: not over within --for",
    FAILED: "work: a command has failed; wait: a message is dead or cancelled",
    INTERRUPTED: "interrupted or declined by the user",
}


class Failure(click.ClickException):
    """Ends the command.

    Args:
        message: one sentence for people: what was wrong and what to do next.
        exit_code: one of this module's.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = exit_code
