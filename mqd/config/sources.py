"""Where values come from: a YAML file, environment variables, flags.

What it is: readers that turn each source into a row of given values, each with
its place, and a list of problems. What it is not: a judge of values; the kinds
of the keys are that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mqd.config.problems import ConfigError, Problem, quoted, suggestion
from mqd.config.sections import KEYS, SECTIONS
from mqd.config.yaml_reader import Document

if TYPE_CHECKING:
    from collections.abc import Mapping

    import yaml

VARIABLE_PREFIX: Final = "MQD_"
CONFIG_VARIABLE: Final = "MQD_CONFIG"
"""Names the configuration file."""
OTHER_VARIABLES: Final = frozenset(
    {
        CONFIG_VARIABLE,
        # Of scripts/ and deploy/, whose variables a server inherits:
        "MQD_ADDRESS",
        "MQD_COMPILED",
        "MQD_LOCAL",
        "MQD_PORT",
        "MQD_PUBLISH",
        "MQD_PURE",
        "MQD_STOP_SECONDS",
        "MQD_VENV",
        # Of the tests, whose servers do so too:
        "MQD_CRASH_SEED",
        "MQD_CRASH_STATES",
        "MQD_SALVAGE_CASES",
    }
)
"""Variables of the project that are no keys. A test holds them equal to those that it has."""
_FOREIGN: Final = re.compile(
    r"MQD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)
_FOREIGN_PORT: Final = re.compile(r"(tcp|udp|sctp)://")
MAX_FILE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class Given:
    """A value that a source gives to a key that exists."""

    path: str
    value: Any
    where: str


@dataclass
class Harvest:
    """What a source gave, in its order, and what was wrong with it."""

    given: list[Given] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def variable_name(path: str) -> str:
    """Return the environment variable of a key: MQD_SERVER__PORT for server.port."""
    return VARIABLE_PREFIX + path.replace(".", "__", 1).upper()


def read_flags(flags: Mapping[str, Any]) -> Harvest:
    """Take values by dotted key that were given as flags."""
    harvest = Harvest()
    for path, value in flags.items():
        if path in KEYS:
            harvest.given.append(Given(path, value, f"flag {KEYS[path].flag}".strip()))
        else:
            harvest.problems.append(_unknown_key(path, "flags"))
    return harvest


def read_environment(environ: Mapping[str, str]) -> Harvest:
    """Take the variables MQD_SECTION__KEY; their values are YAML.

    Others that start with MQD_ are taken for misspelt ones, but for those that the project
    has besides, and those that Kubernetes sets for a service of the name mqd or mqd-server.
    """
    harvest = Harvest()
    paths = {variable_name(path): path for path in KEYS}
    for name, text in environ.items():
        if not name.startswith(VARIABLE_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in paths:
            if _is_foreign(name, text):
                continue
            known = (*paths, CONFIG_VARIABLE)
            sentence = f"there is no key for this variable{suggestion(name.upper(), known)}"
            harvest.problems.append(Problem("", sentence, f"variable {ascii(name)[1:-1]}"))
            continue
        document = Document(text, f"variable {name}", has_lines=False)
        if not document.problems:
            _take(harvest, document, paths[name], document.root)
        harvest.problems += document.problems
    return harvest


def _is_foreign(name: str, text: str) -> bool:
    """Tell whether a variable is one that a container's surroundings set by themselves."""
    is_port = name.endswith("_PORT") and _FOREIGN_PORT.match(text) is not None
    return is_port or _FOREIGN.fullmatch(name) is not None


def read_file(path: str) -> Harvest:
    """Take the keys of a YAML file of sections.

    Args:
        path: the file; `~` is expanded.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, or is larger than a configuration can be.
    """
    harvest = Harvest()
    document = Document(_file_text(path), path, has_lines=True)
    for section, node in document.pairs(document.root, ""):
        if section not in SECTIONS:
            where = document.where(node.start_mark)
            harvest.problems.append(_unknown_section(section, where))
            continue
        for key, value_node in document.pairs(node, section):
            _take(harvest, document, f"{section}.{key}", value_node)
    harvest.problems += document.problems
    return harvest


def _take(harvest: Harvest, document: Document, path: str, node: yaml.Node | None) -> None:
    """Put a value into the harvest, unless its key or its form is wrong."""
    where = document.where(node.start_mark if node else None)
    if path not in KEYS:
        harvest.problems.append(_unknown_key(path, where))
        return
    problems_before = len(document.problems)
    value = document.value(node, path)
    if len(document.problems) == problems_before:
        harvest.given.append(Given(path, value, where))


def _file_text(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", f"it is not UTF-8 at byte {error.start}", path)]) from error
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: no home for ~; ValueError: a path that no file can have.
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem("", f"it cannot be read: {reason}", path)]) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([Problem("", f"it has more than {MAX_FILE_BYTES} bytes", path)])
    return text


def _unknown_section(name: str, where: str) -> Problem:
    hint = suggestion(name, (*SECTIONS, *KEYS))
    sentence = f"there is no such section; there are {', '.join(SECTIONS)}{hint}"
    return Problem(_printable(name), sentence, where)


def _unknown_key(name: str, where: str) -> Problem:
    return Problem(_printable(name), f"there is no such key{suggestion(name, KEYS)}", where)


def _printable(name: str) -> str:
    return quoted(name)[1:-1]
