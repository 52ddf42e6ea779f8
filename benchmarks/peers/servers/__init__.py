"""The servers that are measured: a module for each kind, all with the same face."""
