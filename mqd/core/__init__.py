"""The broker: pure. Floor 1: no I/O, clock, randomness or logging.

Time comes in as `now_ms`, milliseconds since 1970-01-01 UTC on the server's own
steady clock; the same commands at the same times always give the same state.
"""
