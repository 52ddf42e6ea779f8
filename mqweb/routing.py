"""From operations to routes; what is not served, and what is not served so. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route, Router

from mqweb.answers import problem_answer, send_answer
from mqweb.operations import Endpoint
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import Lifespan

    from mqweb.answers import Send
    from mqweb.gateway import Gateway
    from mqweb.operations import Operation
    from mqweb.requests import Receive, Scope


class _ByMethod:
    """A path: its operations by method."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._allowed = ", ".join(sorted({*endpoints, "OPTIONS"})).encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the operation of its method."""
        method = scope["method"]
        endpoint = self._endpoints.get(method)
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return
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


def routes_of(gateway: Gateway, operations: Iterable[Operation]) -> list[Route]:
    """Return a route for each path, in the order of the operations."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for each in operations:
        endpoint = by_path.setdefault(each.path, {})[each.method] = Endpoint(gateway, each)
        if each.method == "GET" and each.result is not None:  # a stream would never end
            by_path[each.path]["HEAD"] = endpoint  # the server leaves the body out
    return [Route(path, _ByMethod(endpoints)) for path, endpoints in by_path.items()]


async def not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a request for a path that nothing is served at."""
    problem = Problem(
        GatewayCode.NO_SUCH_PATH, f"nothing is served at {scope['path'][:200]}; see /docs"
    )
    await send_answer(send, problem_answer(problem))


def application(routes: Sequence[BaseRoute], lifespan: Lifespan[Any]) -> Router:
    """Return the application: routes, and a problem document for everything else.

    There is no middleware: operations see to their errors themselves.
    """
    return Router(routes, redirect_slashes=False, default=not_found, lifespan=lifespan)
