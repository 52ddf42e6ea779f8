"""From paths to operations; what is not served, and what is not served so. Floor 2.

The framework's own routes are regular expressions that are tried one after the other, which costs
a request more than its body does. So there is a table here; the lifespan is the framework's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.routing import Router

from mqweb.answers import problem_answer, send_answer
from mqweb.operations import Endpoint
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import Lifespan

    from mqweb.answers import Send
    from mqweb.gateway import Gateway
    from mqweb.operations import Operation
    from mqweb.requests import Receive, Scope

    App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class _ByMethod:
    """A path: its operations by method."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._allowed = ", ".join(sorted({*endpoints, "OPTIONS"})).encode("ascii")

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on to the operation of its method."""
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is not None:
            return endpoint(scope, receive, send)
        return self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        method = scope["method"]
        problem = Problem(
            GatewayCode.METHOD_NOT_ALLOWED,
            f"{scope['path'][:200]} is not served with {method}",
            {"allowed": sorted(self._endpoints)},
            headers=((b"allow", self._allowed),),
        )
        answer = problem_answer(problem)
        if method == "OPTIONS":
            answer = answer._replace(status=204, body=b"", fields=((b"allow", self._allowed),))
        await send_answer(send, answer)


class Table:
    """What is served at which path.

    A path is found by its parts, at the same cost however many there are. Where a part of a path
    is a name in braces any text may stand but one that another path has there in full.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, path: str, app: App) -> None:
        """Serve something at a path."""
        node = self._root
        names = []
        for part in path.split("/"):
            if part.startswith("{"):
                names.append(part[1:-1])
                node.free = node = node.free or _Node()
            else:
                node = node.fixed.setdefault(part, _Node())
        node.app, node.names = app, tuple(names)

    def find(self, path: str) -> tuple[App, dict[str, str]] | None:
        """Return what is served at a path, and what stands in place of its names."""
        node = self._root
        values = []
        for part in path.split("/"):
            following = node.fixed.get(part)
            if following is None:
                following = node.free
                if following is None or not part:
                    return None
                values.append(part)
            node = following
        if node.app is None:
            return None
        return node.app, dict(zip(node.names, values, strict=True))


class _Node:
    """All paths that begin with the same parts."""

    __slots__ = ("app", "fixed", "free", "names")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.free: _Node | None = None
        self.app: App | None = None
        self.names: tuple[str, ...] = ()


def table_of(gateway: Gateway, operations: Iterable[Operation]) -> Table:
    """Return a table with each operation at its path."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for each in operations:
        endpoint = by_path.setdefault(each.path, {})[each.method] = Endpoint(gateway, each)
        if each.method == "GET" and each.result is not None:  # a stream would never end
            by_path[each.path]["HEAD"] = endpoint  # the server leaves the body out
    table = Table()
    for path, endpoints in by_path.items():
        table.add(path, _ByMethod(endpoints))
    return table


async def not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a request for a path that nothing is served at."""
    problem = Problem(
        GatewayCode.NO_SUCH_PATH, f"nothing is served at {scope['path'][:200]}; see /docs"
    )
    await send_answer(send, problem_answer(problem))


class Application(Router):
    """The application: a table, and a problem document for everything else.

    There is no middleware: operations see to their errors themselves.

    Args:
        table: what is served.
        lifespan: what goes on meanwhile.
    """

    def __init__(self, table: Table, lifespan: Lifespan[Any]) -> None:
        super().__init__(lifespan=lifespan)
        self._find = table.find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; everything that is none is the framework's."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        found = self._find(scope["path"])
        if found is None:
            await not_found(scope, receive, send)
            return
        app, scope["path_params"] = found
        await app(scope, receive, send)
