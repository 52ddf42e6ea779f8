"""The broker's refusals."""

from __future__ import annotations

from mqwire.codes import Code
from mqwire.errors import CodedError


class BrokerError(CodedError):
    """A command that the broker refuses; nothing has changed."""


def queue_not_found(name: str) -> BrokerError:
    """Make the refusal of a command on a queue that is not there."""
    return BrokerError(
        Code.QUEUE_NOT_FOUND,
        f"there is no queue '{name}'",
        {"queue": name},
    )


def queue_exists(name: str) -> BrokerError:
    """Make the refusal of creating a queue a second time."""
    return BrokerError(
        Code.QUEUE_EXISTS,
        f"queue '{name}' exists; with the option if_missing that is no error",
        {"queue": name},
    )


def queue_full(name: str, bound: str, limit: int, present: int, asked: int) -> BrokerError:
    """Make the refusal of a push that would pass one of the queue's bounds.

    Args:
        name: the queue.
        bound: `max_messages` or `max_bytes`.
        limit: the bound's value, in messages or bytes.
        present: what the queue holds.
        asked: what the push would add.
    """
    unit = bound.removeprefix("max_")
    return BrokerError(
        Code.QUEUE_FULL,
        f"queue '{name}' holds {present} of at most {limit} {unit}, so {asked} more do not fit; "
        "pull or purge first, or create it with a higher bound",
        {"queue": name, "bound": bound, "limit": limit, "present": present, "asked": asked},
    )


def too_many_queues(limit: int) -> BrokerError:
    """Make the refusal of creating more queues than the server may hold."""
    return BrokerError(
        Code.TOO_MANY_QUEUES,
        f"the server holds {limit} queues, which is all it may; delete one first",
        {"limit": limit},
    )


def over_cap(option: str, cap: int, asked: int) -> BrokerError:
    """Make the refusal of a queue option that passes the server's own bound."""
    return BrokerError(
        Code.OUT_OF_RANGE,
        f"CREATE: {option} may be {cap} at most on this server, not {asked}",
        {"verb": "CREATE", "field": option, "low": 1, "high": cap, "got": asked},
    )


def lease_lost(epoch: int, seq: int, why: str) -> BrokerError:
    """Make the refusal of settling a lease that is not the caller's to settle.

    Args:
        epoch: of the lease, as it was claimed.
        seq: its number.
        why: `unknown`, `stale`, `over` or `foreign`, see `mqd.core.leases.LeaseBook.find`.
    """
    sentence = _WHY_LOST[why]
    return BrokerError(
        Code.LEASE_LOST,
        f"the lease {epoch}-{seq} {sentence}; nothing has changed",
        {"lease": [epoch, seq], "why": why},
    )


_WHY_LOST = {
    "unknown": "is none that this server has given",
    "stale": "is from before a restart that has lost it",
    "over": "was settled before, or its time has run out and its messages went on",
    "foreign": "is held by somebody else",
}


def not_leased(epoch: int, seq: int, message_id: int) -> BrokerError:
    """Make the refusal of settling a message that is not under the lease."""
    return BrokerError(
        Code.NOT_LEASED,
        f"the message {message_id} is not under the lease {epoch}-{seq}; nothing has changed",
        {"lease": [epoch, seq], "id": message_id},
    )


def too_many_settled(limit: int) -> BrokerError:
    """Make the refusal of a step that settles more messages than it may."""
    return BrokerError(
        Code.TOO_MANY_MESSAGES,
        f"a step may settle {limit} messages together at most; nothing has changed",
        {"limit": limit},
    )


def skips_too_much(skip: int, limit: int) -> BrokerError:
    """Make the refusal of a look that would have to pass over too much.

    Args:
        skip: messages that were to be passed over.
        limit: the packs, leases and messages that may be.
    """
    return BrokerError(
        Code.OUT_OF_RANGE,
        f"PEEK: the first {skip} messages here lie in more than {limit} packs and other places, "
        "which are too many to pass over",
        {"verb": "PEEK", "field": "skip", "low": 0, "got": skip, "limit": limit},
    )


def bad_dead_letter(name: str, target: str) -> BrokerError:
    """Make the refusal of a dead-letter queue whose own dead letters would come back."""
    return BrokerError(
        Code.OUT_OF_RANGE,
        f"CREATE: the dead letters of '{name}' cannot go to '{target}', from where they would "
        "come back to it",
        {"verb": "CREATE", "field": "dead_letter", "expected": "another queue", "got": target},
    )


def key_reused(key: str, name: str | None = None) -> BrokerError:
    """Make the refusal of a key that came with something else before.

    Args:
        key: the key.
        name: the queue of the push that it came with; None where that was a step.
    """
    where = "a step" if name is None else f"a push to '{name}'"
    details = {"key": key} if name is None else {"queue": name, "key": key}
    return BrokerError(
        Code.KEY_REUSED,
        f"the key '{key}' came with {where} of other content a short time ago; give each "
        "a key of its own",
        details,
    )


def user_not_found(name: str) -> BrokerError:
    """Make the refusal of a command on a user that is not there."""
    return BrokerError(Code.USER_NOT_FOUND, f"there is no user '{name}'", {"user": name})


def user_exists(name: str) -> BrokerError:
    """Make the refusal of adding a user a second time."""
    return BrokerError(Code.USER_EXISTS, f"there is a user '{name}' already", {"user": name})


def user_configured(name: str) -> BrokerError:
    """Make the refusal of managing a user that stands in the configuration."""
    return BrokerError(
        Code.USER_CONFIGURED,
        f"the user '{name}' stands in the server's configuration (auth.users), or is the account "
        "that owns its address file: change it there, and start the server again",
        {"user": name},
    )


def last_administrator(name: str) -> BrokerError:
    """Make the refusal of what would leave nobody to administer the server."""
    return BrokerError(
        Code.LAST_ADMINISTRATOR,
        f"'{name}' is the last administrator: without it nobody could manage users any more; add "
        "another one first",
        {"user": name},
    )


def may_not_manage(role: str, sentence: str, asked: str = "") -> BrokerError:
    """Make the refusal of somebody who would go beyond their role.

    Args:
        role: theirs.
        sentence: what is not allowed.
        asked: the role that it is about, if there is one.
    """
    details = {"role": role, "asked": asked} if asked else {"role": role}
    return BrokerError(Code.ACCESS_DENIED, sentence, details)


def too_many_users(limit: int) -> BrokerError:
    """Make the refusal of adding more users than there may be."""
    return BrokerError(
        Code.TOO_MANY_USERS,
        f"the server holds {limit} users, which is all it may (auth.max_users)",
        {"limit": limit},
    )


def token_not_found(token_id: int) -> BrokerError:
    """Make the refusal of a command on a token that is not there."""
    return BrokerError(
        Code.TOKEN_NOT_FOUND, f"there is no token {token_id} here", {"token": token_id}
    )


def too_many_tokens(bound: str, limit: int) -> BrokerError:
    """Make the refusal of more tokens than there may be.

    Args:
        bound: `tokens` or `tokens_per_user`.
        limit: its value.
    """
    whose = "this user has" if bound == "tokens_per_user" else "the server holds"
    return BrokerError(
        Code.TOO_MANY_TOKENS,
        f"{whose} {limit} tokens, which is all there may be (auth.max_{bound}); revoke one first",
        {"bound": f"max_{bound}", "limit": limit},
    )


def page_lost(reason: str) -> BrokerError:
    """Make the refusal of what needs bodies that were put aside and cannot be had.

    Args:
        reason: what has gone wrong, for people.
    """
    return BrokerError(
        Code.INTERNAL,
        f"bodies of waiting messages that were put aside on the disk cannot be had ({reason}); "
        "nothing has changed, and the journal has them: look after the disk and start the "
        "server again",
        {},
    )
