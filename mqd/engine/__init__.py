"""Engines: what carries commands out. Floor 2.

The floor above knows an `Engine`, not which one. The local engine is the pure
broker of `mqd.core`; all of its state is in this process.
"""
