"""Settings for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A noisy machine is no failure: examples have no deadline, the tests have one each. A
# failure prints what replays it.
settings.register_profile(
    "mqd", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mqd")
