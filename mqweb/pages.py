"""Pages and files: the OpenAPI document, what shows it, and the console. Floor 2.

Everything is served from this package; no page may load from another host, and each has the
strictest policy that it works with. Files are read once, and known by a hash of their content.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import yaml

from mqweb.answers import COMMON, Answer, encode_json, problem_answer, send_answer
from mqweb.documents import openapi
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

    from mqweb.answers import Field, Send
    from mqweb.operations import Operation
    from mqweb.requests import Receive, Scope
    from mqweb.routing import Table

TYPES: Final = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "png": b"image/png",
    "svg": b"image/svg+xml",
    "txt": b"text/plain; charset=utf-8",
    "woff2": b"font/woff2",
}
_OWN: Final = (
    "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; "
)
CONSOLE_POLICY: Final = (
    _OWN + "script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'"
)
"""For the console: nothing but its own files."""
_DOCS_POLICY: Final = (
    _OWN + "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; worker-src 'self' blob:"
)
"""For the pages that show the API: both make styles of their own, and one a worker."""


class StaticFile:
    """A file as an ASGI application.

    Args:
        content: all of it.
        content_type: of it.
        policy: its Content-Security-Policy.
    """

    def __init__(self, content: bytes, content_type: bytes, policy: str) -> None:
        mark = hashlib.sha256(content).hexdigest()[:20]
        self._etag = f'"{mark}"'.encode("ascii")
        fields: list[Field] = [
            *COMMON,
            (b"content-security-policy", policy.encode("ascii")),
            (b"cache-control", b"no-cache"),
            (b"etag", self._etag),
        ]
        self._answer = Answer(200, content, content_type, (), fields)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer with the file, or say that the client has it already."""
        answer = self._answer
        if scope["method"] not in ("GET", "HEAD"):
            text = f"{scope['path'][:200]} is not served with {scope['method']}"
            answer = problem_answer(
                Problem(GatewayCode.METHOD_NOT_ALLOWED, text, headers=((b"allow", b"GET, HEAD"),))
            )
        elif (b"if-none-match", self._etag) in scope["headers"]:
            answer = answer._replace(status=304, body=b"")
        await send_answer(send, answer)


class _Documents:
    """The OpenAPI document in its two forms, made when it is first asked for."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    @cached_property
    def _document(self) -> dict[str, Any]:
        return openapi(self._operations)

    @cached_property
    def as_json(self) -> StaticFile:
        return StaticFile(encode_json(self._document), TYPES["json"], _OWN)

    @cached_property
    def as_yaml(self) -> StaticFile:
        text = yaml.safe_dump(self._document, sort_keys=False, allow_unicode=True, width=100)
        return StaticFile(text.encode("utf-8"), b"application/yaml", _OWN)


class _Later:
    """A file that is made when it is first asked for."""

    def __init__(self, documents: _Documents, name: str) -> None:
        self._documents = documents
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        made: StaticFile = getattr(self._documents, self._name)
        await made(scope, receive, send)


def add_pages(table: Table, operations: Sequence[Operation]) -> None:
    """Serve all pages and files."""
    documents = _Documents(operations)
    table.add("/openapi.json", _Later(documents, "as_json"))
    table.add("/openapi.yaml", _Later(documents, "as_yaml"))
    assets = files("mqweb") / "assets"
    for name in ("docs", "redoc"):
        table.add(f"/{name}", _page(assets / f"{name}.html", _DOCS_POLICY))
    _add_files(table, assets, "/assets/", _DOCS_POLICY)
    console = files("mqweb") / "console"
    if console.is_dir():
        _add_files(table, console, "/console/", CONSOLE_POLICY)
        table.add("/", _page(console / "index.html", CONSOLE_POLICY))


def _page(file: Traversable, policy: str) -> StaticFile:
    kind = TYPES[file.name.rpartition(".")[2]]
    return StaticFile(file.read_bytes(), kind, policy)


def _add_files(table: Table, folder: Traversable, path: str, policy: str) -> None:
    for file in folder.iterdir():
        if file.is_dir():
            _add_files(table, file, f"{path}{file.name}/", policy)
        elif file.name.rpartition(".")[2] in TYPES:
            table.add(f"{path}{file.name}", _page(file, policy))
