"""Who holds a lease, as the wire has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mqd.core.messages import Owner


def described(owner: Owner) -> dict[str, Any]:
    """Return what is told of an owner: `holder`, who it is, and what is known of it."""
    if isinstance(owner, str):
        return {"holder": owner}
    rest = {key: value for key, value in owner.items() if key != "instance"}
    return {"holder": owner["instance"], **rest}
