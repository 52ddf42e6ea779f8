"""The shell: sockets, sessions, verbs, timers and the frame log. Floor 3.

It knows an `Engine`, not which one, and holds no rule about queues.
"""
