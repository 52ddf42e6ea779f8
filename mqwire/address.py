"""The address file's contents: how clients of the same user find a server. Floor 0: pure.

The server writes it, clients read it; who opens and renames files is their
business. It is one JSON object, readable by its owner only, since it holds a
token with an administrator's rights.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

ADDRESS_FILE_VERSION: Final = 1
DEFAULT_ADDRESS_FILE: Final = "~/.mqd/default.json"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means the machine that it is used on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(url: str) -> bool:
    """Tell whether a url leads to the machine that it is used on, whichever that is."""
    parts = urlsplit(url)
    return parts.scheme == "mq+unix" or is_loopback(parts.hostname or "")


@dataclass(frozen=True)
class Address:
    """Where a server listens and how its owner gets in.

    Args:
        urls: addresses to try in this order, `mq://host:port` or `mq+unix:///path`,
            without credentials.
        token: what AUTH takes; a secret.
        host: name of the machine that the server runs on.
        pid: its process id there.
        started_at: seconds since 1970-01-01 UTC.
        server_version: version of mqd.
    """

    urls: tuple[str, ...]
    token: str
    host: str
    pid: int
    started_at: float
    server_version: str

    def __repr__(self) -> str:
        """Leave the token out: reprs end in logs."""
        return f"Address(urls={self.urls}, host={self.host!r}, pid={self.pid})"

    def urls_from(self, host: str) -> tuple[str, ...]:
        """Return the urls that lead to this server from a machine of that name.

        From another machine a loopback address or a Unix socket would lead to whatever
        listens there, which must not be handed this server's token.
        """
        return self.urls if host == self.host else tuple(u for u in self.urls if not is_local(u))

    def to_json(self) -> str:
        """Return the file's text."""
        fields = {"address_file_version": ADDRESS_FILE_VERSION, **asdict(self)}
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Address:
        """Read the file's text; keys that are not known are passed over.

        Raises:
            ValueError: not such a file, or of a version that is not understood.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:  # whose words are of no use to people
            raise ValueError("it is not JSON") from error
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004  a bad file, not a bad call
        version = fields.get("address_file_version")
        if version is None:
            raise ValueError("it is JSON of another kind")
        if version != ADDRESS_FILE_VERSION:
            raise ValueError(f"its version is {version!r}, understood is {ADDRESS_FILE_VERSION}")
        urls = fields.get("urls")
        if not isinstance(urls, list) or not urls:
            raise ValueError("its urls are not a list with an address in it")
        try:
            return cls(
                urls=tuple(str(url) for url in urls),
                token=str(fields["token"]),
                host=str(fields["host"]),
                pid=int(fields["pid"]),
                started_at=float(fields["started_at"]),
                server_version=str(fields["server_version"]),
            )
        except KeyError as error:
            raise ValueError(f"it lacks {error}") from error
        except (TypeError, OverflowError) as error:
            raise ValueError(f"a value in it is not what it should be ({error})") from error
