"""Forms of bodies that are not the API's own JSON: bytes, and lines. Floor 2: data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE_HEADER: Final = "content-type"
"""The header of a message that keeps the type of a body that came as bytes."""
BYTES: Final = b"application/octet-stream"
LINES: Final = b"application/x-ndjson"


@dataclass(frozen=True)
class Media:
    """A body that is no JSON form.

    Args:
        content_type: its type.
        schema: what the OpenAPI document says of it.
    """

    content_type: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


BINARY: Final = Media(BYTES.decode("ascii"), {"type": "string", "format": "binary"})
ND_JSON: Final = Media(
    LINES.decode("ascii"), {"type": "string", "description": "A JSON document on each line."}
)
