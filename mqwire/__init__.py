"""The wire format of mqd, shared by server and clients. Floor 0: pure.

What it is: frames, packs of bodies, the registries of verbs, error codes and
durability levels, the rule for names, and every limit of the protocol.
What it is not: sockets, time, threads, logging or any decision about queues.
PROTOCOL.md describes the same things in words and is normative.
"""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
SUPPORTED_VERSIONS = (1,)
