"""Users and tokens: who comes in, who manages whom, and what ends what."""

from __future__ import annotations

import pytest

from mqd.core import account_records as records
from mqd.core.access import MANAGES, Role
from mqd.core.accounts import Accounts
from mqd.core.broker import Bounds, Broker
from mqd.core.salvage import Salvager
from mqd.core.standings import Caps, Change, Issue, Standing
from mqwire.codes import Code
from support.jobs import refusal as refusal_of

DAY_MS = 24 * 3600 * 1000


def refusal(code, attempt):
    """Return the refusal of an attempt, which has this code."""
    error = refusal_of(attempt)
    assert error.code is code
    return error


class Office:
    """Accounts with their history, and short ways to use them."""

    def __init__(self, **caps):
        self.accounts = Accounts(Caps(**caps))
        self.history = []

    def do(self, record):
        if record is not None:
            self.history.append(record)
            self.accounts.appliers[record[0]](*record[1:])
        return record

    def admit(self, name, role=Role.AGENT, *, actor=Role.ADMIN, now_ms=0):
        self.do(self.accounts.plan_admit(actor, name, role, f"hash of {name}", now_ms))
        return self.standing(name)

    def alter(self, name, *, actor=Role.ADMIN, now_ms=1, **change):
        return self.do(self.accounts.plan_alter(actor, name, Change(**change), now_ms))

    def expel(self, name, *, actor=Role.ADMIN):
        return self.do(self.accounts.plan_expel(actor, name, 1))

    def standing(self, name):
        user = self.accounts.user(name)
        return Standing(name, user.role, user.basis)

    def issue(self, standing, role=None, *, digest=None, now_ms=0, life_ms=DAY_MS):
        digest = digest or bytes([len(self.history)]) * 32
        asked = Issue(role or standing.role, digest, "a comment", now_ms + life_ms)
        self.do(self.accounts.plan_issue(standing, asked, now_ms))
        return self.accounts.standing_of(digest, now_ms)

    def again(self):
        """Return other accounts, made of this one's records, and others of what it exports."""
        return [self._made(self.history), self._made(self.accounts.export())]

    @staticmethod
    def _made(made):
        other = Accounts()
        for record in list(made):
            other.appliers[record[0]](*record[1:])
        return other


@pytest.fixture
def office():
    return Office()


@pytest.fixture
def ada(office):
    office.admit("root", Role.ADMIN)
    return office.admit("ada")


def test_a_user_stands_until_it_ends(office, ada):
    assert office.accounts.holds(ada, 0)
    assert office.accounts.holds(ada, 10**15)
    office.expel("ada")
    assert not office.accounts.holds(ada, 0)
    assert office.accounts.user("ada") is None


@pytest.mark.parametrize(
    "change",
    [
        {"password_hash": "other"},
        {"is_disabled": True},
        {"role": Role.USER},
        {"role": Role.SECRETARY},
    ],
)
def test_what_ends_a_standing_and_the_tokens_on_it(office, ada, change):
    token = office.issue(ada, Role.USER)
    office.alter("ada", **change)
    for accounts in (office.accounts, *office.again()):
        assert not accounts.holds(ada, 1)
        assert not accounts.holds(token, 1)
        assert accounts.tokens_of("ada") == []


@pytest.mark.parametrize("change", [{"role": Role.ADMIN}, {"is_disabled": False}, {}])
def test_what_does_not(office, ada, change):
    token = office.issue(ada)
    office.alter("ada", **change)
    assert office.accounts.holds(ada, 1)
    assert office.accounts.holds(token, 1)


def test_a_change_of_nothing_is_no_record(office, ada):
    assert office.alter("ada", role=Role.AGENT, is_disabled=False) is None


def test_one_who_is_disabled_cannot_come_in_until_enabled(office, ada):
    office.alter("ada", is_disabled=True)
    assert not office.accounts.holds(office.standing("ada"), 1)
    office.alter("ada", is_disabled=False)
    assert office.accounts.holds(office.standing("ada"), 1)
    assert not office.accounts.holds(ada, 1), "what has ended does not come back"


def test_one_who_comes_again_under_the_same_name_is_another(office, ada):
    office.expel("ada")
    again = office.admit("ada")
    assert again != ada
    assert not office.accounts.holds(ada, 0)
    for accounts in office.again():
        assert accounts.holds(again, 0)
        assert not accounts.holds(ada, 0)


def test_marks_are_not_used_twice_after_a_snapshot_either(office, ada):
    office.expel("ada")
    other = Office()
    other.accounts = office.again()[1]
    assert other.admit("ada") != ada


# Who manages whom


ACTS = {
    "admit": lambda office, actor, role: office.admit("new", role, actor=actor),
    "expel": lambda office, actor, role: office.expel(role.word, actor=actor),
    "password": lambda office, actor, role: office.alter(
        role.word, actor=actor, password_hash="other"
    ),
    "disable": lambda office, actor, role: office.alter(role.word, actor=actor, is_disabled=True),
    "make": lambda office, actor, role: office.alter("agent", actor=actor, role=role),
    "unmake": lambda office, actor, role: office.alter(role.word, actor=actor, role=Role.USER),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("actor", Role)
def test_each_may_manage_those_below_and_make_nobody_more(office, actor, role, act):
    office.admit("root", Role.ADMIN)
    for each in Role:
        office.admit(each.word, each)
    if role in MANAGES[actor] and (act != "make" or Role.AGENT in MANAGES[actor]):
        ACTS[act](office, actor, role)
        return
    before = list(office.accounts.export())
    error = refusal(Code.ACCESS_DENIED, lambda: ACTS[act](office, actor, role))
    assert error.details["role"] == actor.word
    assert list(office.accounts.export()) == before


def test_a_secretary_is_no_administrator_by_any_way(office):
    office.admit("root", Role.ADMIN)
    office.admit("sec", Role.SECRETARY)
    sec = Role.SECRETARY
    for attempt in (
        lambda: office.alter("sec", actor=sec, role=Role.ADMIN),
        lambda: office.alter("root", actor=sec, password_hash="mine"),
        lambda: office.admit("other", Role.ADMIN, actor=sec),
        lambda: office.admit("other", Role.SECRETARY, actor=sec),
        lambda: office.issue(office.standing("sec"), Role.ADMIN),
        lambda: office.issue(office.standing("sec"), Role.AGENT),
    ):
        refusal(Code.ACCESS_DENIED, attempt)


def test_the_last_administrator_stays(office):
    office.admit("root", Role.ADMIN)
    office.admit("ada")
    attempts = (
        lambda: office.expel("root"),
        lambda: office.alter("root", is_disabled=True),
        lambda: office.alter("root", role=Role.SECRETARY),
    )
    for attempt in attempts:
        assert refusal(Code.LAST_ADMINISTRATOR, attempt).details == {"user": "root"}
    office.alter("root", password_hash="other")
    office.admit("other", Role.ADMIN)
    office.alter("other", is_disabled=True)
    for attempt in attempts:
        refusal(Code.LAST_ADMINISTRATOR, attempt)
    office.alter("other", is_disabled=False)
    office.expel("root")
    refusal(Code.LAST_ADMINISTRATOR, lambda: office.expel("other"))


def test_an_administrator_elsewhere_is_enough(office):
    office.admit("root", Role.ADMIN)
    office.accounts.fix("config", "config:1", Role.USER)
    refusal(Code.LAST_ADMINISTRATOR, lambda: office.expel("root"))
    office.accounts.fix("owner", "owner", Role.ADMIN)
    office.expel("root")


def test_a_name_of_the_configuration_is_managed_there(office):
    office.admit("ada")
    office.accounts.fix("ada", "config:1", Role.USER)
    assert office.accounts.user("ada") is None
    assert office.accounts.hidden() == ["ada"]
    for attempt in (
        lambda: office.admit("ada"),
        lambda: office.alter("ada", is_disabled=True),
        lambda: office.expel("ada"),
        lambda: office.do(
            office.accounts.plan_password(Standing("ada", Role.USER, "config:1"), "h", 0)
        ),
    ):
        assert refusal(Code.USER_CONFIGURED, attempt).details == {"user": "ada"}


def test_names_that_are_there_and_that_are_not(office, ada):
    assert refusal(Code.USER_EXISTS, lambda: office.admit("ada")).details == {"user": "ada"}
    assert refusal(Code.USER_NOT_FOUND, lambda: office.expel("eve")).details == {"user": "eve"}
    refusal(Code.USER_NOT_FOUND, lambda: office.alter("eve", is_disabled=True))
    gone = Standing("eve", Role.USER, "user:99")
    refusal(Code.USER_NOT_FOUND, lambda: office.accounts.plan_password(gone, "h", 0))


def test_who_sets_a_password_of_its_own_keeps_its_role(office, ada):
    office.do(office.accounts.plan_password(ada, "new hash", 5))
    user = office.accounts.user("ada")
    assert (user.role, user.password_hash, user.changed_ms) == (Role.AGENT, "new hash", 5)
    assert not office.accounts.holds(ada, 5)


def test_as_many_users_as_there_may_be_and_not_one_more():
    office = Office(users=2)
    office.admit("a")
    office.admit("b")
    assert refusal(Code.TOO_MANY_USERS, lambda: office.admit("c")).details == {"limit": 2}
    office.expel("a")
    office.admit("c")


# Tokens


def test_a_token_is_its_users_with_its_role_until_its_time(office, ada):
    token = office.issue(ada, Role.USER, digest=b"d" * 32, life_ms=1000)
    assert token == Standing("ada", Role.USER, ada.basis, token.token_id, 1000)
    for accounts in (office.accounts, *office.again()):
        assert accounts.standing_of(b"d" * 32, 999) == token
        assert accounts.standing_of(b"d" * 32, 1000) is None
        assert accounts.standing_of(b"x" * 32, 0) is None
        assert accounts.holds(token, 999)
        assert not accounts.holds(token, 1000)
        assert accounts.next_ms() == 1000


def test_tokens_that_are_over_are_let_go_of_a_few_at_a_time(office, ada):
    for life_ms in (10, 20, 20, 30):
        office.issue(ada, life_ms=life_ms)
    accounts = office.accounts
    assert accounts.forget(9, 100) == 0
    assert accounts.forget(20, 2) == 2
    assert accounts.forget(20, 2) == 1
    assert (accounts.forget(20, 2), accounts.count_of("ada"), accounts.next_ms()) == (0, 1, 30)


def test_no_token_has_more_than_who_asks(office):
    office.admit("root", Role.ADMIN)
    user = office.admit("ada", Role.USER)
    for role in (Role.AGENT, Role.SECRETARY, Role.ADMIN):
        error = refusal(Code.ACCESS_DENIED, lambda role=role: office.issue(user, role))
        assert error.details == {"role": "user", "asked": role.word}
    assert office.issue(office.standing("root"), Role.SECRETARY).role is Role.SECRETARY


def test_a_token_issues_none(office, ada):
    refusal(Code.ACCESS_DENIED, lambda: office.issue(office.issue(ada)))


def test_a_revoked_token_is_over(office, ada):
    token, other = office.issue(ada), office.issue(ada)
    office.do(office.accounts.plan_revoke(ada, token.token_id, 1))
    for accounts in (office.accounts, *office.again()):
        assert not accounts.holds(token, 1)
        assert accounts.holds(other, 1)
    refusal(Code.TOKEN_NOT_FOUND, lambda: office.accounts.plan_revoke(ada, token.token_id, 1))


@pytest.mark.parametrize(
    ("role", "whose", "code"),
    [
        (Role.ADMIN, Role.ADMIN, None),
        (Role.SECRETARY, Role.AGENT, None),
        (Role.SECRETARY, Role.ADMIN, Code.ACCESS_DENIED),
        (Role.AGENT, Role.USER, Code.TOKEN_NOT_FOUND),
        (Role.USER, Role.ADMIN, Code.TOKEN_NOT_FOUND),
    ],
)
def test_whose_tokens_somebody_may_revoke(office, role, whose, code):
    office.admit("root", Role.ADMIN)
    actor, token = office.admit("eve", role), office.issue(office.admit("ada", whose), Role.USER)

    def revoke():
        office.do(office.accounts.plan_revoke(actor, token.token_id, 1))

    if code is None:
        revoke()
    else:
        refusal(code, revoke)
    assert office.accounts.holds(token, 1) is (code is not None)


def test_a_lesser_token_ends_itself_and_those_that_are_no_more_than_it(office, ada):
    worker, page, other = (
        office.issue(ada),
        office.issue(ada, Role.USER),
        office.issue(ada, Role.USER),
    )
    plan = office.accounts.plan_revoke
    error = refusal(Code.ACCESS_DENIED, lambda: plan(page, worker.token_id, 1))
    assert error.details["role"] == "user"
    for standing, token in ((page, other), (page, page), (worker, worker)):
        office.do(plan(standing, token.token_id, 1))
    assert office.accounts.tokens_of("ada") == []


def test_a_lesser_token_ends_itself_after_its_user_was_made_more(office, ada):
    token = office.issue(ada)
    office.alter("ada", role=Role.ADMIN)
    office.do(office.accounts.plan_revoke(token, token.token_id, 1))
    assert not office.accounts.holds(token, 1)


def test_as_many_tokens_as_there_may_be_and_not_one_more():
    office = Office(tokens=3, tokens_per_user=2)
    ada, bob = office.admit("ada"), office.admit("bob")
    first = office.issue(ada)
    office.issue(ada)
    error = refusal(Code.TOO_MANY_TOKENS, lambda: office.issue(ada))
    assert error.details == {"bound": "max_tokens_per_user", "limit": 2}
    office.issue(bob)
    error = refusal(Code.TOO_MANY_TOKENS, lambda: office.issue(bob))
    assert error.details == {"bound": "max_tokens", "limit": 3}
    office.do(office.accounts.plan_revoke(ada, first.token_id, 1))
    office.issue(bob)


def test_the_oldest_token_of_the_same_comment_makes_room_for_a_new_one():
    office = Office(tokens=9, tokens_per_user=2)
    ada, plan = office.admit("ada"), office.accounts.plan_room
    first = office.issue(ada)

    def asked(comment):
        return Issue(Role.USER, b"9" * 32, comment, DAY_MS)

    assert plan(ada, asked("a comment"), 1) is None, "there is room"
    office.issue(ada)
    assert plan(ada, asked("another"), 1) is None
    assert plan(ada, asked(""), 1) is None
    office.do(plan(ada, asked("a comment"), 1))
    assert not office.accounts.holds(first, 1)
    office.do(office.accounts.plan_issue(ada, asked("a comment"), 1))
    refusal(Code.ACCESS_DENIED, lambda: plan(first, asked("a comment"), 1))
    above = Issue(Role.ADMIN, b"8" * 32, "a comment", DAY_MS)
    refusal(Code.ACCESS_DENIED, lambda: plan(ada, above, 1))


# Users that are managed elsewhere


@pytest.mark.parametrize(
    ("after", "lives"),
    [
        ((("bob", "config:1", Role.AGENT),), True),
        ((("bob", "config:1", Role.ADMIN),), True),
        ((("bob", "config:2", Role.AGENT),), False),
        ((("bob", "config:1", Role.USER),), False),
        ((), False),
    ],
)
def test_tokens_of_a_configured_user_live_as_long_as_it_stays_as_it_was(office, after, lives):
    office.accounts.fix("bob", "config:1", Role.AGENT)
    token = office.issue(Standing("bob", Role.AGENT, "config:1"))
    for accounts in office.again():
        for name, basis, role in after:
            accounts.fix(name, basis, role)
        assert accounts.holds(token, 0) is lives
        planned = list(accounts.plan_start(0))
        assert planned == ([] if lives else [(records.REVOKE, (token.token_id,), 0)])
        for record in planned:
            accounts.appliers[record[0]](*record[1:])
        assert bool(accounts.tokens_of("bob")) is lives


def test_a_name_may_be_configured_and_the_owners(office):
    office.accounts.fix("ann", "config:1", Role.USER)
    office.accounts.fix("ann", "owner", Role.ADMIN)
    assert list(office.accounts.fixed()) == [("ann", Role.ADMIN)]
    assert office.accounts.holds(Standing("ann", Role.ADMIN, "owner"), 0)
    assert not office.accounts.holds(Standing("ann", Role.ADMIN, "config:1"), 0)
    assert office.accounts.holds(Standing("ann", Role.USER, "config:1"), 0)


def test_one_who_is_configured_now_comes_in_by_that_alone(office, ada):
    token = office.issue(ada)
    office.accounts.fix("ada", "config:1", Role.AGENT)
    assert not office.accounts.holds(ada, 0)
    assert list(office.accounts.plan_start(0)) == [(records.REVOKE, (token.token_id,), 0)]


def test_a_start_ends_many_tokens_in_records_that_are_not_large():
    office = Office(tokens=10_000, tokens_per_user=10_000)
    bob = Standing("bob", Role.AGENT, "config:1")
    office.accounts.fix("bob", "config:1", Role.AGENT)
    for number in range(2001):
        office.issue(bob, digest=number.to_bytes(32, "big"))
    [accounts, _] = office.again()
    for plan in (accounts.plan_start, accounts.plan_distrust):
        planned = list(plan(0))
        assert [len(ids) for _, ids, _ in planned] == [1000, 1000, 1]
        assert sorted(i for _, ids, _ in planned for i in ids) == list(range(1, 2002))


# As a part of the broker


def test_the_broker_has_them_in_its_records():
    broker = Broker(Bounds(1, 1, 1, accounts=Caps(users=1)))
    broker.apply(broker.accounts.plan_admit(Role.ADMIN, "ada", Role.AGENT, "hash", 5000))
    assert broker.clock_ms == 5000
    refusal(
        Code.TOO_MANY_USERS,
        lambda: broker.accounts.plan_admit(Role.ADMIN, "bob", Role.AGENT, "hash", 0),
    )
    other = Broker(Bounds(1, 1, 1))
    other.apply_all(list(broker.export()))
    assert other.accounts.user("ada") == broker.accounts.user("ada")
    assert list(other.export()) == list(broker.export())


def test_a_snapshot_has_no_tokens_that_are_over(ada):
    broker = Broker(Bounds(1, 1, 1))
    broker.apply(broker.accounts.plan_admit(Role.ADMIN, "ada", Role.AGENT, "hash", 0))
    for digest, expires_ms in ((b"1" * 32, 1000), (b"2" * 32, 5001)):
        asked = Issue(Role.USER, digest, "", expires_ms)
        broker.apply(broker.accounts.plan_issue(ada, asked, 0))
    broker.apply(broker.plan_create("a", {}, 5000))
    other = Broker(Bounds(1, 1, 1))
    other.apply_all(list(broker.export()))
    assert [token.expires_ms for token in other.accounts.tokens_of("ada")] == [5001]


def test_secrets_are_in_no_repr(office, ada):
    office.issue(ada, digest=b"d" * 32)
    assert "hash of" not in repr(office.accounts.user("ada"))
    assert "ddd" not in repr(office.accounts.tokens_of("ada"))


def distrusted():
    office = Office()
    office.issue(office.admit("ada"))
    office.admit("bob")
    office.alter("bob", is_disabled=True)
    return office


def test_what_is_looked_up_by_name_and_by_id():
    accounts = distrusted().accounts
    assert accounts.token_users() == ["ada"]
    (token,) = accounts.tokens_of("ada")
    assert accounts.token(token.token_id) is token
    assert not accounts.is_fixed("ada")


def test_nobody_is_trusted_after_records_were_lost():
    office = distrusted()
    for record in list(office.accounts.plan_distrust(9)):
        office.do(record)
    assert office.accounts.token_users() == []
    assert all(user.is_disabled for user in office.accounts.users())
    assert list(office.accounts.plan_distrust(9)) == []


def test_a_salvage_with_a_gap_trusts_nobody():
    salvager = Salvager(Broker(Bounds(1, 1, 1)))
    for record in distrusted().history:
        assert salvager.apply(record) is None
    salvager.note_gap()
    salvager.finish()
    rebuilt = Broker(Bounds(1, 1, 1))
    rebuilt.apply_all(salvager.export())
    assert [user.is_disabled for user in rebuilt.accounts.users()] == [True, True]
    assert rebuilt.accounts.token_users() == []
