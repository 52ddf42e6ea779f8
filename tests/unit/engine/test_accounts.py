"""Users and tokens in the local engine: levels, a full disk, and time."""

from __future__ import annotations

import pytest

from mqd.core.access import Role
from mqd.core.standings import Change, Standing
from mqd.engine.account_base import Asked
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from support.engines import Clock, Disk, new_engine

DIGEST = b"d" * 32


class Office:
    def __init__(self, **settings):
        self.clock, self.disk = Clock(), Disk()
        self.engine = new_engine(self.clock, self.disk, **settings)
        self.accounts = self.engine.accounts

    def standing(self, name):
        user = self.accounts.user(name)
        return Standing(name, user.role, user.basis)

    def at(self, ms):
        self.clock.ms = ms
        self.engine.begin_turn()
        due_ms = self.engine.next_deadline_ms()
        if due_ms is not None and due_ms <= ms:
            self.engine.expire()


@pytest.fixture
def office():
    made = Office(level=Level.ACCEPTED)
    made.accounts.admit(Role.ADMIN, "root", Role.ADMIN, "hash")
    made.accounts.admit(Role.ADMIN, "ada", Role.AGENT, "hash")
    return made


def test_every_change_is_answered_when_it_is_synced_whatever_the_servers_level(office):
    accounts, ada = office.accounts, office.standing("ada")
    asked = Asked(None, 1000, "", DIGEST)
    described, level = accounts.issue(ada, asked)
    levels = [
        level,
        accounts.revoke(ada, described["id"]),
        accounts.admit(Role.ADMIN, "bob", Role.USER, "hash")[1],
        accounts.alter(Role.ADMIN, "bob", Change(is_disabled=True))[1],
        accounts.alter(Role.ADMIN, "bob", Change(is_disabled=True))[1],
        accounts.set_password(ada, "other"),
        accounts.expel(Role.ADMIN, "bob"),
    ]
    assert levels == [Level.SYNCED] * len(levels)


def test_each_change_is_noted_for_who_looks_after_sessions(office):
    accounts = office.accounts
    assert accounts.has_changed
    accounts.has_changed = False
    accounts.alter(Role.ADMIN, "ada", Change(role=Role.AGENT))
    assert not accounts.has_changed
    accounts.alter(Role.ADMIN, "ada", Change(role=Role.USER))
    assert accounts.has_changed


def test_a_full_disk_refuses_new_ones_and_lets_all_be_ended(office):
    accounts, ada = office.accounts, office.standing("ada")
    described, _ = accounts.issue(ada, Asked(None, 1000, "", DIGEST))
    office.disk.room_bytes = 0
    office.disk.entry_bytes = 4096
    accounts.issue(ada, Asked(None, 1000, "", b"e" * 32))  # who makes room has to come in
    office.disk.entry_bytes = 4095
    for attempt in (
        lambda: accounts.admit(Role.ADMIN, "bob", Role.USER, "hash"),
        lambda: accounts.issue(ada, Asked(None, 1000, "", b"f" * 32)),
    ):
        with pytest.raises(CodedError) as caught:
            attempt()
        assert caught.value.code is Code.STORAGE_FULL
    accounts.revoke(ada, described["id"])
    accounts.alter(Role.ADMIN, "ada", Change(password_hash="other"))
    accounts.expel(Role.ADMIN, "ada")


def test_a_token_ends_in_time_and_leaves_no_record(office):
    accounts = office.accounts
    accounts.issue(office.standing("ada"), Asked(Role.USER, 5000, "c", DIGEST))
    standing = accounts.standing_of(DIGEST)
    accounts.has_changed = False
    records = len(office.disk.records)
    assert office.engine.next_deadline_ms() == 6000
    office.at(5999)
    assert accounts.holds(standing)
    office.at(6000)
    assert not accounts.holds(standing)
    assert accounts.has_changed
    assert office.engine.next_deadline_ms() is None
    assert len(office.disk.records) == records


def test_what_is_told_holds_no_hash_and_no_digest(office):
    accounts = office.accounts
    accounts.fix("conf", "config:1", Role.SECRETARY)
    described, _ = accounts.issue(office.standing("ada"), Asked(None, 1000, "c", DIGEST))
    assert described == {
        "id": 3,
        "user": "ada",
        "role": "agent",
        "comment": "c",
        "made_at": 1.0,
        "expires_at": 2.0,
    }
    ada, conf, root = accounts.users("*")
    assert ada == {
        "user": "ada",
        "role": "agent",
        "is_managed": True,
        "is_disabled": False,
        "made_at": 1.0,
        "changed_at": 1.0,
        "tokens": 1,
    }
    assert conf == {
        "user": "conf",
        "role": "secretary",
        "is_managed": False,
        "is_disabled": False,
        "tokens": 0,
    }
    assert root["user"] == "root"
    assert accounts.users("x*") == []


def test_whose_tokens_are_seen(office):
    accounts = office.accounts
    accounts.issue(office.standing("ada"), Asked(None, 1000, "", DIGEST))
    root, ada = office.standing("root"), office.standing("ada")
    assert accounts.tokens(root, None) == []
    assert [each["user"] for each in accounts.tokens(root, "a*")] == ["ada"]
    assert [each["user"] for each in accounts.tokens(ada, None)] == ["ada"]
    with pytest.raises(CodedError) as caught:
        accounts.tokens(ada, "ada")
    assert caught.value.code is Code.ACCESS_DENIED


def test_a_start_ends_what_rests_on_users_that_are_no_more():
    office = Office()
    office.accounts.fix("conf", "config:1", Role.AGENT)
    standing = Standing("conf", Role.AGENT, "config:1")
    office.accounts.issue(standing, Asked(None, 10**9, "", DIGEST))
    office.accounts.admit(Role.ADMIN, "both", Role.AGENT, "hash")
    for basis, is_alive in (("config:1", True), ("config:2", False)):
        disk = Disk()
        records = list(office.engine.broker.export())
        engine = new_engine(office.clock, disk, records=records)
        engine.accounts.fix("conf", basis, Role.AGENT)
        engine.accounts.fix("both", "config:1", Role.AGENT)
        assert engine.accounts.begin() == ["both"]
        assert bool(disk.records) is not is_alive
        assert (engine.accounts.standing_of(DIGEST) is not None) is is_alive
