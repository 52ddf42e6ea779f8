from __future__ import annotations

from mqweb.routes.frames import LOOKS
from mqwire.verbs import VERBS

CHANGES = {
    *("AUTH", "CREATE", "DELETE", "PURGE", "PAUSE", "RESUME", "REDRIVE", "SNAPSHOT"),
    *("PUSH", "PULL", "ACK", "NACK", "EXTEND", "REJECT", "STEP", "CANCEL"),
    *("ADMIT", "ALTER", "EXPEL", "PASSWORD", "ISSUE", "REVOKE"),
}


def test_each_verb_looks_or_changes_something():
    assert not LOOKS & CHANGES
    assert set(VERBS) == LOOKS | CHANGES
