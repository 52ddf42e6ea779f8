"""Puts a configuration together: defaults, then file, then environment, then flags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mqd.config.problems import ConfigError, Problem
from mqd.config.sections import KEYS, SECTIONS, Config
from mqd.config.sources import Harvest, read_environment, read_file, read_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def load(path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Return the configuration that defaults, file, environment and flags make, in this order.

    Args:
        path: a YAML file, or None for no file.
        environ: the environment; variables MQD_SECTION__KEY are taken.
        flags: values by dotted key, such as `server.port`.

    Raises:
        ConfigError: with everything that is wrong in any source, a value that a later
            source overrides included.
    """
    harvests = list(_harvests(path, environ, flags))
    problems = [problem for harvest in harvests for problem in harvest.problems]
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    places: dict[str, str] = {}
    for given in (given for harvest in harvests for given in harvest.given):
        section, _, name = given.path.partition(".")
        try:
            values[section][name] = KEYS[given.path].kind.read(given.path, given.value)
            places[given.path] = given.where
        except ConfigError as error:
            problems += [replace(problem, where=given.where) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return _assembled(values, places)


def _harvests(
    path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Iterator[Harvest]:
    if path is not None:
        try:
            yield read_file(path)
        except ConfigError as error:
            yield Harvest(problems=list(error.problems))
    yield read_environment(environ)
    yield read_flags(flags)


def _assembled(values: Mapping[str, Mapping[str, Any]], places: Mapping[str, str]) -> Config:
    """Return the whole out of values that are sound by themselves."""
    sections: dict[str, Any] = {name: kind(**values[name]) for name, kind in SECTIONS.items()}
    try:
        config = Config(**sections)
    except ConfigError as error:
        raise _placed(error, places) from error
    problems = [
        problem
        for name in ("storage_path", "frame_log_path", "unix_socket_path", "address_file_path")
        for problem in _path_problems(config, name)
    ]
    if problems:
        # Two paths may rest on the same key.
        raise _placed(ConfigError(dict.fromkeys(problems)), places)
    return config


def _path_problems(config: Config, name: str) -> tuple[Problem, ...]:
    """Return why a path cannot be made out, which depends on the machine."""
    try:
        getattr(config, name)
    except ConfigError as error:
        return error.problems
    return ()


def _placed(error: ConfigError, places: Mapping[str, str]) -> ConfigError:
    return ConfigError(
        replace(problem, where=places.get(problem.path, "default")) for problem in error.problems
    )
