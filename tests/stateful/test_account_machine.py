"""Users and tokens against a plain model, with crashes: what has ended stays so.

The model keeps no marks: it writes down, for each standing that was ever given, whether it has
ended. The accounts have to say the same, and so have those that their records, or their export,
make anew at any time.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from mqd.core.access import Role, covers
from mqd.core.accounts import Accounts
from mqd.core.errors import BrokerError
from mqd.core.standings import Caps, Change, Issue, Standing

NAMES = st.sampled_from(["ada", "bob", "eve", "fixed"])
ROLES = st.sampled_from(list(Role))
CAPS = Caps(users=3, tokens=4, tokens_per_user=3)


class AccountMachine(RuleBasedStateMachine):
    standings = Bundle("standings")

    def __init__(self):
        super().__init__()
        self.now_ms = 0
        self.history = []
        self.accounts = self.made([])
        self.alive = {}  # standing: when it ends by itself, 0 for never
        self.digests = {}
        self.given = set()
        self.last_digest = 0

    def made(self, records):
        accounts = Accounts(CAPS)
        accounts.fix("fixed", "owner", Role.ADMIN)
        for record in records:
            accounts.appliers[record[0]](*record[1:])
        return accounts

    def do(self, plan, *arguments):
        """Carry a command out, if it is not refused; tells whether it was."""
        before = list(self.accounts.export())
        try:
            record = plan(*arguments)
        except BrokerError:
            assert list(self.accounts.export()) == before
            return False
        assert list(self.accounts.export()) == before, "a plan changes nothing"
        if record is not None:
            self.history.append(record)
            self.accounts.appliers[record[0]](*record[1:])
        return True

    def end(self, name, *, and_roles_below=None):
        """Note that what a user stood on has ended, or what its role does not cover any more."""
        for standing in list(self.alive):
            if standing.name == name and (
                and_roles_below is None or not covers(and_roles_below, standing.role)
            ):
                del self.alive[standing]

    @rule(target=standings, name=NAMES, role=ROLES)
    def admit(self, name, role):
        self.do(self.accounts.plan_admit, Role.ADMIN, name, role, "hash", self.now_ms)
        return self.come_in(name)

    def come_in(self, name):
        user = self.accounts.user(name)
        if user is None or user.is_disabled:
            return None
        standing = Standing(name, user.role, user.basis)
        self.alive[standing] = 0
        self.given.add(standing)
        return standing

    @rule(target=standings, name=NAMES)
    def come_in_again(self, name):
        return self.come_in(name)

    @rule(name=NAMES, role=ROLES)
    def change_role(self, name, role):
        before = self.accounts.user(name)
        if self.do(
            self.accounts.plan_alter, Role.ADMIN, name, Change(role=role), self.now_ms
        ) and not covers(role, before.role):
            self.end(name)

    @rule(name=NAMES)
    def change_password(self, name):
        change = Change(password_hash="other")
        if self.do(self.accounts.plan_alter, Role.ADMIN, name, change, self.now_ms):
            self.end(name)

    @rule(name=NAMES, is_disabled=st.booleans())
    def disable(self, name, is_disabled):
        before = self.accounts.user(name)
        change = Change(is_disabled=is_disabled)
        done = self.do(self.accounts.plan_alter, Role.ADMIN, name, change, self.now_ms)
        if done and is_disabled and not before.is_disabled:
            self.end(name)

    @rule(name=NAMES)
    def expel(self, name):
        if self.do(self.accounts.plan_expel, Role.ADMIN, name, self.now_ms):
            self.end(name)

    @rule(target=standings, whose=standings, role=ROLES, life_ms=st.integers(1, 50))
    def issue(self, whose, role, life_ms):
        if whose is None or whose not in self.alive:  # the floor above has looked
            return None
        self.last_digest += 1  # never one that a token has had, whatever a snapshot leaves out
        digest = self.last_digest.to_bytes(32, "big")
        expires_ms = self.now_ms + life_ms
        issue = Issue(role, digest, "", expires_ms)
        if not self.do(self.accounts.plan_issue, whose, issue, self.now_ms):
            return None
        token = self.accounts.standing_of(digest, self.now_ms)
        assert covers(whose.role, token.role)
        self.alive[token] = expires_ms
        self.digests[token] = digest
        self.given.add(token)
        return token

    @rule(standing=standings)
    def revoke(self, standing):
        if standing is None or not standing.token_id:
            return
        admin = Standing("fixed", Role.ADMIN, "owner")
        if self.do(self.accounts.plan_revoke, admin, standing.token_id, self.now_ms):
            self.alive.pop(standing, None)

    @rule(ms=st.integers(1, 30), most=st.integers(0, 3))
    def let_time_pass(self, ms, most):
        self.now_ms += ms
        self.accounts.forget(self.now_ms, most)
        self.alive = {
            each: ends for each, ends in self.alive.items() if not ends or ends > self.now_ms
        }

    @rule(is_snapshot=st.booleans())
    def crash(self, is_snapshot):
        if is_snapshot:
            self.history = list(self.accounts.export())
        self.accounts = self.made(self.history)

    @invariant()
    def everybody_stands_who_has_not_ended_and_nobody_else(self):
        for standing in self.given:
            expected = standing in self.alive
            assert self.accounts.holds(standing, self.now_ms) is expected
            if standing in self.digests:
                found = self.accounts.standing_of(self.digests[standing], self.now_ms)
                assert found == (standing if expected else None)

    @invariant()
    def what_the_records_make_is_what_there_is(self):
        again = self.made(self.history)
        again.forget(self.now_ms, 10**6)
        self.accounts.forget(self.now_ms, 10**6)
        assert list(again.export()) == list(self.accounts.export())

    @invariant()
    def the_bounds_hold(self):
        accounts = self.accounts
        names = accounts.token_users()
        assert len(list(accounts.users())) <= CAPS.users
        assert all(accounts.count_of(name) <= CAPS.tokens_per_user for name in names)
        assert sum(map(accounts.count_of, names)) <= CAPS.tokens


TestAccounts = AccountMachine.TestCase
TestAccounts.settings = settings(deadline=None)
