"""The server's configuration: one frozen `Config`, and how it is loaded.

Values come from the defaults, then a YAML file, then the environment, then
flags. An unknown key, a wrong type or a value out of range is a `ConfigError`
that names the key, where the value came from, what was got and what is taken;
all problems are told at once.
"""

from mqd.config.loading import load
from mqd.config.problems import ConfigError, Problem
from mqd.config.sections import (
    KEYS,
    SECTIONS,
    AuthConfig,
    Config,
    FrameLogConfig,
    LimitsConfig,
    QueuesConfig,
    ServerConfig,
    StorageConfig,
)
from mqd.config.sources import CONFIG_VARIABLE, variable_name
from mqd.config.users import UserEntry

__all__ = [
    "CONFIG_VARIABLE",
    "KEYS",
    "SECTIONS",
    "AuthConfig",
    "Config",
    "ConfigError",
    "FrameLogConfig",
    "LimitsConfig",
    "Problem",
    "QueuesConfig",
    "ServerConfig",
    "StorageConfig",
    "UserEntry",
    "load",
    "variable_name",
]
