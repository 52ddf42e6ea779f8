"""The HTTP gateway of mqd. Floor 2: uses mqclient alone.

It is a client like any other: what it can do the protocol can do. It keeps nothing of its
own, so it may be stopped at any time, and several may run side by side.

    config, cli, server    settings; the command `mqweb`; uvicorn with the bounds of its sockets
    app                    puts the application together
    operations             what an operation is, and how a request becomes a call and an answer
    requests, answers      a request, read within bounds; what is sent back
    problems               errors as problem documents
    connections            one connection to mqd for each who asks
    documents, pages       OpenAPI, and the pages that show it
    forms, bodies          what requests and answers look like in JSON
    handing                answers whose messages are acknowledged once they have been handed on
    routes                 the operations themselves
    metrics, events, bridge    figures for Prometheus; what happens, as it does; the same to Redis
"""

from __future__ import annotations

from mqwire import __version__

__all__ = ["__version__"]
