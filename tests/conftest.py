"""Settings for all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A shell lets what it starts in the background ignore Ctrl-C, and that is inherited: by
# the programs, too, that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A noisy machine is no failure: examples have no deadline, the tests have one each. A
# failure prints what replays it.
settings.register_profile(
    "mqd", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mqd")
