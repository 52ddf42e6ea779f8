"""The records of users and tokens, beside those of `mqd.core.records` and in their form.

    (USER,   name, role, password_hash, is_disabled, mark, made_ms, now_ms)
                                    a user as it is from now on; with another mark than before,
                                    what rested on it has ended, its tokens too
    (EXPEL,  name, now_ms)          a user goes, and its tokens
    (TOKEN,  id, user, basis, role, digest, comment, made_ms, expires_ms)
                                    a token that may be used from now on
    (REVOKE, ids, now_ms)           tokens go; those that are gone already make no difference
    (NUMBER, number)                marks and ids of tokens up to this one have been used

`role` is its word, `password_hash` an encoded argon2 hash, `digest` the SHA-256 of the
token: neither passwords nor tokens are in a record. A `basis` says what a token rests on, see
`mqd.core.accounts`; `ids` is a tuple of integers.
"""

from __future__ import annotations

from typing import Final

USER: Final = 60
EXPEL: Final = 61
TOKEN: Final = 62
REVOKE: Final = 63
NUMBER: Final = 64
