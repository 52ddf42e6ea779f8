"""Benchmarks: run by `scripts/bench`, printed as ratios of one run, asserted nowhere."""
