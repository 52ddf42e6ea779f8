from __future__ import annotations

import re

import mqwire


def test_the_version_is_a_plain_release():
    assert re.fullmatch(r"\d+\.\d+\.\d+", mqwire.__version__)


def test_the_protocol_version_is_one_that_is_supported():
    assert mqwire.PROTOCOL_VERSION == 1
    assert mqwire.SUPPORTED_VERSIONS == (1,)
