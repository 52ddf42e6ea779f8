"""mqd: the queue in front of compute. The server.

Floors, imports pointing down only: `app` (composition root) over `net` (sockets,
sessions, frame log) over `engine` (carries commands out) over `core` (the broker,
pure), and all of them over `mqwire`. `config`, `clock`, `passwords` and
`address_file` are leaves that any floor above `core` may use.
"""

from mqwire import __version__

__all__ = ["__version__"]
