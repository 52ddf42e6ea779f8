"""`mqctl`, the command for people and shell scripts. Floor 4: above the client library.

What it is: a thin layer of words around `mqclient`, and a reader of frame logs.
What it is not: another client. Whatever it does, a program can do with `mqclient`.

It is started often and by hand, so nothing heavy is imported before a command
needs it: no asyncio, no client, no rich to print a help text.
"""

from mqclient.ctl.app import main

__all__ = ["main"]
