from __future__ import annotations

import os
import re
import socket

from mqclient.identity import KEEPALIVE_SECONDS, host_name, new_instance
from mqclient.probing import QUIET_SECONDS
from mqwire.limits import MAX_HOST_CHARS, MAX_INSTANCE_CHARS


def test_an_instance_is_random_and_fits():
    instances = {new_instance() for _ in range(100)}
    assert len(instances) == 100
    for instance in instances:
        assert re.fullmatch(rf"[0-9a-f]{{16}}-{os.getpid()}", instance)
        assert len(instance) <= MAX_INSTANCE_CHARS


def test_a_hosts_name_fits(monkeypatch):
    assert host_name() == socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "x" * 1000)
    assert host_name() == "x" * MAX_HOST_CHARS


def test_what_is_promised_is_kept_by_the_probes():
    assert QUIET_SECONDS <= KEEPALIVE_SECONDS
