"""The roles, and their other names. Floor 0: data only.

What it is: the words that stand for a role, on the wire, in the config and in commands.
What it is not: what a role allows, which is the server's (`mqd.core.access`).
"""

from __future__ import annotations

from typing import Final

ROLES: Final = ("admin", "secretary", "agent", "user")
"""The roles by their own names, which are the ones that are given out."""

ROLE_ALIASES: Final = {"administrator": "admin", "manager": "agent", "basic": "user"}
"""Other words that are taken for a role."""

ROLE_WORDS: Final = (*ROLES, *ROLE_ALIASES)
"""Every word that is taken for a role."""
