"""What the gateway is told: one frozen Config. Floor 2.

Values come from the defaults, then variables `MQWEB_NAME`, then flags. There are few of
them, so there is no file. Making a Config reads nothing and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from mqwire.limits import KIB, MAX_WAIT_SECONDS, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE_PREFIX: Final = "MQWEB_"


class ConfigError(ValueError):
    """A setting has a value that it does not take."""


@dataclass(frozen=True)
class Setting:
    """What there is to know about a setting beyond its name and default.

    Args:
        doc: what it does, a sentence for the operator.
        low: the least, for a number.
        high: the greatest, for a number.
        is_secret: whether its value is never shown.
        may_be_empty: whether a text may be empty.
    """

    doc: str
    low: float = 0
    high: float = 0
    is_secret: bool = False
    may_be_empty: bool = False

    def takes(self, default: object) -> str:
        """Say what is taken, as a noun."""
        if isinstance(default, bool):
            return "true or false"
        if isinstance(default, int):
            return f"an integer from {self.low:.15g} to {self.high:.15g}"
        if isinstance(default, float):
            return f"a number of seconds from {self.low:.15g} to {self.high:.15g}"
        return "a text" if self.may_be_empty else "a text that is not empty"


def _text(default: str, doc: str, **more: bool) -> Any:
    return field(default=default, metadata={"setting": Setting(doc, **more)})


def _number(default: float, low: float, high: float, doc: str) -> Any:
    return field(default=default, metadata={"setting": Setting(doc, low, high)})


def _switch(doc: str) -> Any:
    return field(default=False, metadata={"setting": Setting(doc)})


@dataclass(frozen=True)
class Config:
    """Everything that the gateway is told."""

    host: str = _text("127.0.0.1", "Address to listen on.")
    port: int = _number(7580, 0, 65_535, "TCP port to listen on; 0 takes a free one.")
    address_file: str = _text(
        "",
        "File that the gateway writes its own URL to when it listens; empty for none.",
        may_be_empty=True,
    )
    mqd: str = _text(
        "",
        "URL of mqd (mq://host:port, mq+unix:///path, file:///address.json); empty for the address "
        "file of a server on this machine. Its user or token, if it has one, is the gateway's own.",
        is_secret=True,
        may_be_empty=True,
    )
    open_metrics: bool = _switch(
        "Serve /metrics to whoever asks, with the gateway's own credentials."
    )
    connect_seconds: float = _number(
        3.0, 0.01, 60.0, "How long a request waits for a connection to mqd."
    )
    answer_seconds: float = _number(
        30.0, 0.1, 600.0, "How long mqd may take to answer, beside what a request waits itself."
    )
    send_seconds: float = _number(
        30.0, 0.1, 3600.0, "How long a client may take nothing of what it is sent."
    )
    receive_seconds: float = _number(
        30.0,
        0.1,
        3600.0,
        "How long a head may take to come, and a body, which has a second more for each KiB of it.",
    )
    max_wait_seconds: float = _number(
        300.0, 0.0, float(MAX_WAIT_SECONDS), "Longest wait of a pull that is granted; more is cut."
    )
    max_request_bytes: int = _number(
        16 * MIB, KIB, 256 * MIB, "Largest body of a request in bytes; no more than the next."
    )
    max_buffered_bytes: int = _number(
        256 * MIB,
        KIB,
        2**40,
        "Bodies of requests under way, in bytes together; and as many of answers.",
    )
    max_connections: int = _number(4096, 1, 1_000_000, "Connections of clients at a time.")
    max_users: int = _number(
        256, 1, 100_000, "Connections to mqd that are kept: one for each token that is in use."
    )
    user_idle_seconds: float = _number(
        300.0, 0.1, 86_400.0, "How long such a connection is kept that nobody uses."
    )
    max_streams: int = _number(2048, 1, 1_000_000, "Event streams at a time.")
    stream_events: int = _number(
        2000, 1, 65_536, "Events that a stream may be behind before it is cut."
    )
    keepalive_seconds: float = _number(
        15.0, 0.05, 3600.0, "How often a silent event stream is sent a comment."
    )
    log_level: str = _text("info", "What is logged: debug, info, warning or error.")

    def lines(self) -> Iterator[str]:
        """Yield the settings as `name: value` with what is secret left out."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata["setting"].is_secret and value:
                value = without_credentials(value)
            yield f"{each.name}: {str(value).lower() if isinstance(value, bool) else value}"


SETTINGS: Final[dict[str, Setting]] = {
    each.name: each.metadata["setting"] for each in fields(Config)
}
"""Every setting, by its name."""
DEFAULTS: Final = Config()
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def variable_name(name: str) -> str:
    """Return the variable that sets a setting."""
    return f"{VARIABLE_PREFIX}{name.upper()}"


def load(environment: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """Return the configuration in force.

    Args:
        environment: the process's variables.
        flags: what was said on the command line, by setting.

    Raises:
        ConfigError: a value is not taken, or not together with another, or a variable with our
            prefix is not known.
    """
    known = {variable_name(name): name for name in SETTINGS}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(VARIABLE_PREFIX):
            continue
        if variable not in known:
            raise ConfigError(f"there is no variable {variable}; see `mqweb --help`")
        values[known[variable]] = _read(known[variable], text, variable)
    for name, text in flags.items():
        values[name] = _read(name, text, f"--{name.replace('_', '-')}")
    config = Config(**values)
    if config.log_level not in LOG_LEVELS:
        raise ConfigError(f"log_level is one of {', '.join(LOG_LEVELS)}, not {config.log_level!r}")
    if config.max_request_bytes > config.max_buffered_bytes:
        raise ConfigError(
            f"max_request_bytes ({config.max_request_bytes}) is more than max_buffered_bytes "
            f"({config.max_buffered_bytes}), so that a body could be too large for the gateway "
            "with no other one under way: make it less, or the other more"
        )
    return config


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown."""
    scheme, separator, rest = url.partition("://")
    place = rest.rpartition("@")[2]
    return f"{scheme}{separator}{place}" if separator else "..."


def _read(name: str, text: str, source: str) -> Any:
    setting, default = SETTINGS[name], getattr(DEFAULTS, name)
    value: Any = text
    try:
        if isinstance(default, bool):
            value = {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        elif isinstance(default, int):
            value = int(text)
        elif isinstance(default, float):
            value = float(text)
    except (ValueError, KeyError):
        value = None
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    if value is None or (is_number and not setting.low <= value <= setting.high):
        raise ConfigError(f"{source} takes {setting.takes(default)}, not {text!r}")
    if value == "" and not setting.may_be_empty:
        raise ConfigError(f"{source} takes {setting.takes(default)}")
    return value
