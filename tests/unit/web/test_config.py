"""What the gateway is told: values that do not go together."""

from __future__ import annotations

import pytest

from mqweb.config import ConfigError, load

LARGE = {"MQWEB_MAX_REQUEST_BYTES": "2048"}


def test_a_body_may_be_as_large_as_all_together_and_no_larger():
    assert load(LARGE, {"max_buffered_bytes": "2048"}).max_buffered_bytes == 2048
    with pytest.raises(ConfigError, match=r"max_request_bytes \(2048\) is more than max_buffered"):
        load(LARGE, {"max_buffered_bytes": "2047"})
    with pytest.raises(ConfigError, match="make it less, or the other more"):
        load({"MQWEB_MAX_BUFFERED_BYTES": "1024"}, {})
