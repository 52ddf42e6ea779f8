"""The OpenAPI document, made from the operations. Floor 2: pure."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mqweb import shapes
from mqweb.words import meaning_of
from mqwire import __version__
from mqwire.codes import Code, GatewayCode
from mqwire.limits import MAX_KEY_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mqweb.media import Media
    from mqweb.operations import Operation
    from mqweb.problems import AnyCode

_REF: Final = "#/components/schemas/{name}"
_TAGS: Final = {
    "Messages": "Push, pull, look, follow, cancel.",
    "Leases": "Work under a lease, settled by its id.",
    "Tasks": "The same for those who think in tasks.",
    "Queues": "Create, look, empty, pause, delete.",
    "Dead letters": "What is not tried again, and why.",
    "Server": "Health, figures, events.",
    "Access": "Tokens and users.",
}
_PARAMETERS: Final = {
    "queue": (
        "Name of a queue.",
        {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"},
    ),
    "id": ("Id of a message.", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}),
    "lease": ("Id of a lease.", {"type": "string", "pattern": "^[0-9]{1,18}-[0-9]{1,18}$"}),
    "user": ("Name of a user.", {"type": "string", "minLength": 1, "maxLength": 256}),
    "token": ("Id of a token.", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}),
}
_COMMON_CODES: Final[tuple[AnyCode, ...]] = (
    Code.BAD_NAME,
    Code.OUT_OF_RANGE,
    Code.WRONG_TYPE,
    GatewayCode.MALFORMED_QUERY,
    GatewayCode.MISSING_FIELD,
    GatewayCode.UNEXPECTED_BODY,
    GatewayCode.MALFORMED_BODY,
    GatewayCode.METHOD_NOT_ALLOWED,
    GatewayCode.SERVER_AWAY,
    GatewayCode.SERVER_LATE,
    Code.INTERNAL,
)
_OF_BODIES: Final[tuple[AnyCode, ...]] = (
    Code.BODY_TOO_LARGE,
    GatewayCode.UNSUPPORTED_MEDIA_TYPE,
    GatewayCode.REQUEST_LATE,
)
_OF_USERS: Final[tuple[AnyCode, ...]] = (Code.NOT_AUTHENTICATED, Code.ACCESS_DENIED)


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1) for some operations."""
    forms = [form for each in operations for form in (each.query, each.body) if form is not None]
    results = [each.result for each in operations if each.result is not None]
    types = list(dict.fromkeys([shapes.Problem, *forms, *results]))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    for name, component in components.items():
        _explain(name, component)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(
            each, schema_of, components
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mqd",
            "version": __version__,
            "summary": "The queue in front of compute, over HTTP",
            "description": "Every refusal is a problem document (RFC 9457) whose `code` is that "
            "of mqd's protocol, or one of the gateway's own.",
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}],
    }


def _explain(name: str, component: dict[str, Any]) -> None:
    """Say of each field of a class what it means, where it does not say so itself."""
    for field, schema in component.get("properties", {}).items():
        if "description" not in schema:
            own = [each.pop("description", "") for each in schema.get("anyOf", ())]
            schema["description"] = next(filter(None, own), "") or meaning_of(name, field)


def _operation(
    operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    verbs = ", ".join(operation.verbs)
    text = [operation.text, f"Verbs of the protocol: {verbs}." if verbs else ""]
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": "\n\n".join(filter(None, text)),
        "tags": [operation.tag],
        "parameters": list(_parameters(operation, components)),
        "responses": _responses(operation, schema_of),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of[operation.body]}}
        content.update(_media(operation.media))
        found["requestBody"] = {
            "required": bool(_required(operation, components)),
            "content": content,
        }
    if operation.is_open:
        found["security"] = []
    return found


def _required(operation: Operation, components: dict[str, Any]) -> Any:
    assert operation.body is not None
    return components[operation.body.__name__].get("required")


def _parameters(operation: Operation, components: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", operation.path):
        text, schema = _PARAMETERS[name]
        yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
    if operation.query is not None:
        form = components[operation.query.__name__]
        for name, schema in form["properties"].items():
            yield _query_parameter(name, schema, name in form.get("required", ()))
    if "PUSH" in operation.verbs or "STEP" in operation.verbs:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "By this the request is known if it comes again.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_KEY_CHARS,
                "pattern": "^[!#-~]+$",
            },
        }


def _query_parameter(name: str, schema: dict[str, Any], is_required: bool) -> dict[str, Any]:  # noqa: FBT001  data
    """Return a parameter; one that may be left out is not null, but not there."""
    said = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    plain = dict(said[0]) if len(said) == 1 else dict(schema)
    plain.pop("default", None)
    plain.pop("description", None)
    if schema.get("default") is not None:
        plain["default"] = schema["default"]
    return {
        "name": name,
        "in": "query",
        "required": is_required,
        "description": schema["description"],
        "schema": plain,
    }


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.result is not None:
        content["application/json"] = {"schema": schema_of[operation.result]}
    content.update(_media(operation.gives))
    found: dict[str, Any] = {}
    if content:
        for status in filter(None, (operation.status, operation.other_status)):
            found[str(status)] = {"description": _said(operation), "content": content}
    if operation.is_empty_possible:
        found["204"] = {"description": "There was nothing, or not in time: there is no body."}
    elif not content:
        found["204"] = {"description": "It is done; there is no body."}
    codes: list[AnyCode] = [*operation.codes, *_COMMON_CODES]
    codes += () if operation.body is None else _OF_BODIES
    codes += () if operation.is_open else _OF_USERS
    by_status: dict[int, list[AnyCode]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(code.http_status, []).append(code)
    problem = {"application/problem+json": {"schema": schema_of[shapes.Problem]}}
    for status, several in sorted(by_status.items()):
        text = "; ".join(f"`{each.name}`: {each.summary}" for each in several)
        found[str(status)] = {"description": text, "content": problem}
    found["default"] = {"description": "Another problem.", "content": problem}
    return found


def _said(operation: Operation) -> str:
    """Return what an answer tells: what its form says of itself, if it has one."""
    form = operation.result
    is_form = isinstance(form, type) and issubclass(form, shapes.Shape)
    return inspect.cleandoc(form.__doc__ or "") if is_form else f"{operation.summary}."


def _media(several: Iterable[Media]) -> dict[str, Any]:
    return {each.content_type: {"schema": dict(each.schema)} for each in several}
