"""What users give that makes no sense, told in a sentence that says what to write. Floor 1: pure.

Only what would otherwise be sent, half done, or end in an error of Python's that does not say
which argument is meant. Bounds and names are the server's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from mqclient.errors import ArgumentError
from mqwire.runs import runs_of


def check_ids(ids: Any) -> list[int]:
    """Return ids as a list.

    Raises:
        ArgumentError: they are no positive integers, or not in a list.
    """
    if type(ids) is int and ids > 0:
        raise ArgumentError(f"ids stand in a list: write [{ids}], not {ids}; None means all")
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        more = "; a reason is given by its name: reason=..." if isinstance(ids, str) else ""
        raise ArgumentError(
            f"ids are positive integers in a list such as [17, 18], not {_shown(ids)}{more}"
        )
    found = list(ids)
    if not found:
        raise ArgumentError("ids is an empty list; None means all")
    for each in found:
        if type(each) is not int or each < 1:
            hint = ": write message.id" if hasattr(each, "raw") else ""
            raise ArgumentError(f"ids are positive integers, not {_shown(each)}{hint}")
    return found


def checked_runs(ids: Any) -> list[int]:
    """Return ids as runs, each once and in order.

    Raises:
        ArgumentError: there are none, they are no positive integers, or not in a list.
    """
    return list(runs_of(sorted(set(check_ids(ids)))))


def reason_text(reason: Any) -> str:
    """Return a reason as text; of an error its traceback.

    Raises:
        ArgumentError: it is neither a text nor an error.
    """
    if isinstance(reason, str):
        return reason
    if isinstance(reason, BaseException):
        import traceback  # noqa: PLC0415  the keeper, which starts with every worker, does without

        return "".join(traceback.format_exception(type(reason), reason, reason.__traceback__))
    raise ArgumentError(f"reason is a text or an error that was raised, not {_shown(reason)}")


def check_pushes(push: Any) -> Mapping[str, Any]:
    """Return what is to be pushed in a step: for each queue a list of bodies.

    Raises:
        ArgumentError: it is not that.
    """
    if not isinstance(push, Mapping):
        raise ArgumentError(
            f"push is a map of queue to bodies such as {{'results': [1]}}, not {_shown(push)}; "
            "what came of the job goes with result=..."
        )
    for queue, bodies in push.items():
        if not is_many(bodies):
            raise ArgumentError(
                f"the bodies for {queue!r} stand in a list: push={{{queue!r}: [...]}}, not "
                f"{_shown(bodies)}; what came of the job goes with result=..."
            )
    return push


def check_bodies(bodies: Any) -> None:
    """Return if these are many bodies.

    Raises:
        ArgumentError: they are one alone, or none.
    """
    if not is_many(bodies):
        raise ArgumentError(
            f"push_many takes many bodies, in a list or from a generator, not {_shown(bodies)}; "
            "push takes one"
        )


def is_many(bodies: Any) -> bool:
    """Tell whether bodies are several, and not one that could be taken apart."""
    return isinstance(bodies, Iterable) and not isinstance(
        bodies, str | bytes | bytearray | memoryview | Mapping
    )


def check_headers(headers: Any) -> None:
    """Return if these are the headers of one message.

    Raises:
        ArgumentError: they are no map with text for keys.
    """
    if headers is not None and not isinstance(headers, Mapping):
        raise ArgumentError(f"headers are a map such as {{'kind': 'a'}}, not {_shown(headers)}")
    for key in headers or ():
        if not isinstance(key, str):
            raise ArgumentError(f"the keys of headers are text, not {_shown(key)}")


def check_callable(function: Any, name: str) -> None:
    """Return if it is None, or can be called.

    Raises:
        ArgumentError: it cannot.
    """
    if function is not None and not callable(function):
        raise ArgumentError(f"{name} is a function, not {_shown(function)}")


def check_seconds(seconds: Any, name: str) -> None:
    """Return if it is None or a number; whether it is a good one is the server's business.

    Raises:
        ArgumentError: it is neither.
    """
    if isinstance(seconds, timedelta):
        raise ArgumentError(
            f"{name} is a number of seconds: write {seconds.total_seconds():g}, or "
            "that_timedelta.total_seconds()"
        )
    if seconds is not None and type(seconds) not in (int, float):
        raise ArgumentError(f"{name} is a number of seconds, not {_shown(seconds)}")


def check_words(words: Any, name: str, example: str) -> list[str] | None:
    """Return several words as a list, or None.

    Raises:
        ArgumentError: they are not in a list, or no words.
    """
    if words is None:
        return None
    if is_many(words):
        found = list(words)
        if all(isinstance(word, str) for word in found):
            return found
    raise ArgumentError(f"{name} are words in a list, such as [{example!r}], not {_shown(words)}")


def check_flag(value: Any, name: str) -> None:
    """Return if it is True or False.

    Raises:
        ArgumentError: it is neither.
    """
    if type(value) is not bool:
        raise ArgumentError(f"{name} is True or False, not {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value as it is written, cut, and of which type it is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"
