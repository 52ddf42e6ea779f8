"""Reads YAML into plain values, with the line of each and no surprises.

What it is: the part of YAML that a configuration needs, by the core schema of
YAML 1.2. Only `true` and `false` are booleans, so that `level: off` is a word;
numbers have no leading zeros; dates are text. A key that a mapping has twice,
an alias, and a tag that makes anything but a plain value are refused.
What it is not: a judge of what the values mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from mqd.config.problems import Problem, quoted, type_words

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAG: Final = "tag:yaml.org,2002:"
_DIGITS: Final = r"(?:0|[1-9][0-9_]*)"
_FLOAT: Final = (
    rf"[-+]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN)"
)
_NUMBER_STARTS: Final = "-+.0123456789"
# Each scalar's tag, the form it has, and the characters that it may start with.
_CORE_SCHEMA: Final = (
    ("null", r"~|null|Null|NULL|", ("", *"~nN")),
    ("bool", r"true|True|TRUE|false|False|FALSE", (*"tTfF",)),
    ("int", rf"[-+]?{_DIGITS}", (*_NUMBER_STARTS,)),
    ("float", _FLOAT, (*_NUMBER_STARTS,)),
)
_PLAIN_TAGS: Final = frozenset(f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str"))


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return the schema in the form that the loader looks scalars up in, by first character."""
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, form, starts in _CORE_SCHEMA:
        rule = (_TAG + name, re.compile(rf"(?:{form})\Z"))
        for start in starts:
            table.setdefault(start, []).append(rule)
    return table


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a few of them can stand for a value that fills the memory."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # not in the stubs
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", mark)
        return super().compose_node(parent, index)


class Document:
    """One YAML text, read node by node; whatever is wrong is gathered in `problems`.

    Args:
        text: the YAML.
        name: the file or the variable, for people.
        has_lines: whether places are told as `name:line`.
    """

    def __init__(self, text: str, name: str, *, has_lines: bool) -> None:
        self.problems: list[Problem] = []
        self.root: yaml.Node | None = None
        self._name = name
        self._has_lines = has_lines
        try:
            self._loader = _Loader(text)
            self.root = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            words = (error.context, error.problem)
            self._add("", "it is not YAML: " + ", ".join(filter(None, words)), error.problem_mark)
        except yaml.YAMLError as error:
            reason = getattr(error, "reason", "it cannot be decoded")
            self._add("", f"it is not YAML: {reason}", None)
        except RecursionError:
            self._add("", "it is nested too deeply", None)

    def where(self, mark: yaml.Mark | None) -> str:
        """Return a place for people."""
        return f"{self._name}:{mark.line + 1}" if self._has_lines and mark else self._name

    def pairs(self, node: yaml.Node | None, path: str) -> Iterator[tuple[str, yaml.Node]]:
        """Yield the keys and values of a mapping; null and nothing at all are an empty one.

        Args:
            node: what should be a mapping.
            path: its dotted path, or empty at the top.
        """
        if node is None or node.tag == _TAG + "null":
            return
        if not isinstance(node, yaml.MappingNode):
            got = type_words(self.value(node, path))
            self._add(path, f"got {got}; it takes a mapping of keys to values", node.start_mark)
            return
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(path, "a key is a list or a mapping; keys are words", mark)
                continue
            key = str(key_node.value)
            if key in lines:
                sentence = f"it is there twice; the first one is in line {lines[key]}"
                self._add(_joined(path, key), sentence, mark)
                continue
            lines[key] = mark.line + 1
            yield key, value_node

    def value(self, node: yaml.Node | None, path: str) -> Any:
        """Return a node as None, bool, int, float, str, list or dict.

        A part that is none of these is None instead, and a problem is noted.
        """
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return {
                key: self.value(item, _joined(path, key)) for key, item in self.pairs(node, path)
            }
        if node is None:
            return None
        if node.tag not in _PLAIN_TAGS:
            self._add(path, f"the tag {quoted(node.tag)} is not taken", node.start_mark)
            return None
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError):
            # An explicit tag, such as !!int, that its text does not follow.
            sentence = f"its value cannot be read as {quoted(node.tag)}"
            self._add(path, sentence, node.start_mark)
            return None

    def _add(self, path: str, sentence: str, mark: yaml.Mark | None) -> None:
        self.problems.append(Problem(path, sentence, self.where(mark)))


def _joined(path: str, key: str) -> str:
    word = key if key.isascii() and key.isidentifier() else quoted(key)
    return f"{path}.{word}" if path else word
