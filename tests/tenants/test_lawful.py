"""What a node takes as lawful: every way in which control alone could widen the policy is tried and refused."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenants import chain, laws, people
from tenants.accounts import Role
from tenants.approval import Approval, sign
from tenants.change import ApprovalNeeded, Change
from tenants.model import Origin
from tenants.register import Register
from tenants.request import LIFE, Step
from tenants.requests import Requests
from tests.tenants.zone import NOW, ZONE, change, grant, tenant
from whitelist import compiler
from whitelist.document import Document
from whitelist.lawful import Law, Trust, Unlawful, judge
from whitelist.store import KINDS

STAFF = {
    "sys": Role.SYSTEM_ADMINISTRATOR, "sec": Role.SECURITY_ADMINISTRATOR, "aud": Role.AUDIT_ADMINISTRATOR,
    "operator": Role.PLATFORM_OPERATOR, "reviewer": Role.ZONE_REVIEWER,
}  # fmt: skip


@dataclass
class Zone:
    """A register with accounts, and what a node made of its laws so far."""

    register: Register
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    now: int = NOW
    rows: dict[bytes, bytes] = field(default_factory=dict)
    trust: Trust = field(default_factory=lambda: Trust(zone=""))

    def account(self, name: str) -> Change:
        key = self.keys.setdefault(name, Ed25519PrivateKey.generate()).public_key().public_bytes_raw().hex()
        return change("accounts", "add", name, name=name, roles=[STAFF[name].value], key=key)

    def alone(self, *changes: Change, by: str) -> None:
        self.now += 1
        self.register.apply_changes(changes, by, "x", self.now)

    def ask(self, *changes: Change, by: str = "operator") -> str:
        self.now += 1
        with pytest.raises(ApprovalNeeded) as needed:
            self.register.apply_changes(changes, by, "x", self.now)
        return Requests(self.register).submit(needed.value, by, "x", self.now).id

    def approval(self, request: str, by: str = "reviewer") -> Approval:
        found, _ = Requests(self.register).get(request)
        return sign(self.keys[by], request, found.digest, Step.APPROVE, by, STAFF[by], self.now)

    def both(self, *changes: Change, by: str = "operator", second: str = "reviewer") -> str:
        request = self.ask(*changes, by=by)
        Requests(self.register).decide(self.approval(request, second), "", self.now)
        return request

    def law(self, revision: int = 0) -> Law:
        """The law of a revision, the last one for 0."""
        return laws_of(self.register, revision or self.register.revision())

    def follow(self) -> None:
        """The node takes all that came since."""
        for revision in range(self.trust.revision + 1, self.register.revision() + 1):
            self.take(self.law(revision))

    def take(self, law: Law) -> None:
        entries, self.trust = judge(law, self.trust, self.rows.get, self.now + 5)
        for key, value in entries.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


def laws_of(register: Register, revision: int) -> Law:
    return msgspec.convert(laws.law(register, revision), Law, from_attributes=True)


@pytest.fixture
def zone(register: Register) -> Zone:
    """One that was set up by one person, then given accounts, and that the node has followed."""
    made = Zone(register)
    register.apply_changes(ZONE, "root", "set up", NOW)
    register.apply_changes([made.account(name) for name in ("sys", "sec", "aud")], "feiyu init", "first", NOW)
    with register.store.transaction(write=False) as connection:
        made.trust = Trust(zone=people.zone(connection))
    for name in ("operator", "reviewer"):
        made.both(made.account(name), by="sys", second="sec")
    made.follow()
    return made


def test_what_a_node_follows_is_what_the_register_compiles_to(zone: Zone, tmp_path: Path) -> None:
    zone.both(grant("g-1"))
    zone.alone(change("grants", "suspend", "g-1"), by="reviewer")
    zone.both(change("grants", "resume", "g-1"))
    zone.both(tenant("firm-b"))
    zone.alone(change("denies", "add", "", target="bad.example"), by="operator")
    zone.register.skip_to(zone.register.revision() + 3, "control", "put back", zone.now)
    last = zone.register.revision()
    for revision in (*range(zone.trust.revision + 1, last - 2), last):
        zone.take(zone.law(revision))
    zone.both(change("grants", "edit", "g-1", lines=["hk1"], purpose="offshore_roundtrip"))
    zone.follow()
    collections, _ = zone.register.everything()
    assert zone.rows == dict(compiler.compiled(Document(**collections), tmp_path / "sort"))
    assert zone.trust.head


# ---- what control alone can do: anything to the register and to the laws, but sign for somebody

Forge = Callable[[Zone], Law]


def relinked(law: Law, link: dict[str, Any] | None = None, **fields: Any) -> Law:
    """A law with other parts, and a link that fits them."""
    made = msgspec.structs.replace(law, **fields)
    steps = tuple(chain.step_of(one) for one in _changed(made))
    old = msgspec.json.decode(law.link, type=chain.Link)
    fresh = msgspec.structs.replace(old, steps=steps, **(link or {}))
    return msgspec.structs.replace(made, link=msgspec.json.Encoder(order="sorted").encode(fresh))


def _changed(law: Law) -> Any:
    from whitelist import lawful

    return lawful._changed(law)


def _item(law: Law, **fields: Any) -> bytes:
    """The document after the law's first step, with other fields."""
    step = law.steps[0]
    item = msgspec.json.decode(step.after, type=KINDS[step.collection].struct)
    return msgspec.json.encode(msgspec.structs.replace(item, **fields))


def _other_after(law: Law, **fields: Any) -> tuple[Any, ...]:
    return (msgspec.structs.replace(law.steps[0], after=_item(law, **fields)), *law.steps[1:])


def without_a_second_person(zone: Zone) -> Law:
    with zone.register.store.transaction(write=True) as connection:
        made = zone.register.perform(connection, [grant("g-1")], "operator", "x", zone.now, Origin.APPROVED)
        zone.register.record(connection, made, "operator", "x", zone.now)
    return zone.law()


def as_if_approved_by_the_submitter(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    link = msgspec.json.decode(zone.law().link, type=chain.Link)
    own = sign(zone.keys["operator"], link.request, link.digest, Step.APPROVE, "operator", "zone-reviewer", zone.now)
    return relinked(zone.law(), {"approvals": (msgspec.to_builtins(own),)})


def with_a_signature_of_controls_own(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    link = msgspec.json.decode(zone.law().link, type=chain.Link)
    own = sign(
        Ed25519PrivateKey.generate(), link.request, link.digest, Step.APPROVE, "reviewer", "zone-reviewer", zone.now
    )
    return relinked(zone.law(), {"approvals": (msgspec.to_builtins(own),)})


def with_a_rejection_for_an_approval(zone: Zone) -> Law:
    request = zone.ask(grant("g-1"))
    rejected = replace(zone.approval(request))
    zone.both(grant("g-2"))
    no = sign(zone.keys["reviewer"], request, rejected.digest, Step.REJECT, "reviewer", "zone-reviewer", zone.now)
    return relinked(zone.law(), {"approvals": (msgspec.to_builtins(no),)})


def wider_than_it_was_shown(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    law = zone.law()
    window = msgspec.structs.replace(
        msgspec.json.decode(law.steps[0].after, type=KINDS["grants"].struct).window, valid_until=NOW * 2
    )
    return relinked(law, steps=_other_after(law, window=window))


def another_item_than_its_link_says(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    law = zone.law()
    return msgspec.structs.replace(law, steps=_other_after(law, lines=("hk1", "hk2")))


def applied_a_second_time(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    zone.follow()
    before = zone.law()
    zone.alone(change("grants", "revoke", "g-1"), by="reviewer")
    zone.follow()
    link = {"revision": zone.trust.revision + 1, "previous": zone.trust.head, "time": zone.now}
    return relinked(before, link, revision=zone.trust.revision + 1)


def the_same_again(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    zone.follow()
    return zone.law()


def one_left_out(zone: Zone) -> Law:
    zone.alone(change("denies", "add", "d-1", target="bad.example"), by="operator")
    zone.both(grant("g-1"))
    return zone.law()


def a_fork(zone: Zone) -> Law:
    zone.alone(change("groups", "add", "one"), by="operator")
    law = zone.law()
    zone.follow()
    return relinked(law, {"revision": zone.trust.revision + 1}, revision=zone.trust.revision + 1)


def narrower_than_what_never_was(zone: Zone) -> Law:
    """An item is said to have been wider than it is, so that what it becomes looks narrower."""
    zone.both(grant("g-1"))
    zone.follow()
    zone.alone(change("grants", "edit", "g-1", window={"valid_until": NOW + 500}), by="operator")
    law = zone.law()
    wide = msgspec.structs.replace(
        KINDS["grants"].struct(
            **{
                f: getattr(msgspec.json.decode(law.steps[0].after, type=KINDS["grants"].struct), f)
                for f in KINDS["grants"].struct.__struct_fields__
            }
        ),
        window=msgspec.structs.replace(
            msgspec.json.decode(law.steps[0].after, type=KINDS["grants"].struct).window, valid_until=NOW * 2
        ),
    )
    after = msgspec.structs.replace(wide, window=msgspec.structs.replace(wide.window, valid_until=NOW * 2 - 1))
    step = msgspec.structs.replace(law.steps[0], before=msgspec.json.encode(wide), after=msgspec.json.encode(after))
    return relinked(law, steps=(step,))


def a_revoked_grant_said_to_be_in_force(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    zone.follow()
    zone.alone(change("grants", "revoke", "g-1"), by="reviewer")
    revoked = zone.law()
    zone.follow()
    step = revoked.steps[0]
    shorter = msgspec.json.decode(step.before, type=KINDS["grants"].struct)
    shorter = msgspec.structs.replace(shorter, window=msgspec.structs.replace(shorter.window, valid_until=NOW + 9000))
    lie = msgspec.structs.replace(step, verb="edit", after=msgspec.json.encode(shorter))
    link = {"revision": zone.trust.revision + 1, "previous": zone.trust.head}
    return relinked(revoked, link, revision=zone.trust.revision + 1, steps=(lie,))


def an_account_of_controls_own(zone: Zone) -> Law:
    zone.keys.pop("reviewer")
    STAFF["x"] = Role.ZONE_REVIEWER
    with zone.register.store.transaction(write=True) as connection:
        made = zone.register.perform(connection, [zone.account("x")], "sys", "x", zone.now, Origin.APPROVED)
        zone.register.record(connection, made, "sys", "x", zone.now)
    del STAFF["x"]
    return zone.law()


def a_key_changed_while_it_was_disabled(zone: Zone) -> Law:
    """What looks like a disabling brings control's own key in, for the day when the account is enabled again."""
    zone.alone(change("accounts", "disable", "reviewer"), by="sec")
    law = zone.law()
    return relinked(law, steps=_other_after(law, key="ab" * 32))


def places_changed_while_it_was_suspended(zone: Zone) -> Law:
    zone.alone(change("tenants", "suspend", "firm-a"), by="operator")
    law = zone.law()
    return relinked(law, steps=_other_after(law, max_tunnels=77))


def outside_of_the_chain(zone: Zone) -> Law:
    return msgspec.structs.replace(without_a_second_person(zone), link=b"")


def long_after_it_lapsed(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    law = zone.law()
    zone.now += LIFE + 1000
    return relinked(law, {"time": zone.now})


def at_a_time_that_has_not_come(zone: Zone) -> Law:
    zone.both(grant("g-1"))
    return relinked(zone.law(), {"time": zone.now + 10_000})


def by_somebody_disabled_since(zone: Zone) -> Law:
    request = zone.ask(grant("g-1"))
    approval = zone.approval(request)
    found, _ = Requests(zone.register).get(request)
    zone.alone(change("accounts", "disable", "reviewer"), by="sec")
    zone.follow()
    zone.now += 1
    with zone.register.store.transaction(write=True) as connection:
        made = zone.register.perform(connection, [grant("g-1")], "operator", "x", zone.now, Origin.APPROVED)
        zone.register.record(connection, made, "operator", "x", zone.now, request, found.digest, (approval,))
    return msgspec.structs.replace(zone.law(), content=found.content)


def a_deny_taken_away(zone: Zone) -> Law:
    zone.alone(change("denies", "add", "d-1", target="bad.example"), by="operator")
    zone.follow()
    with zone.register.store.transaction(write=True) as connection:
        made = zone.register.perform(
            connection, [change("denies", "remove", "d-1")], "operator", "x", zone.now, Origin.DIRECT
        )
        zone.register.record(connection, made, "operator", "x", zone.now)
    return zone.law()


FORGED: dict[Forge, str] = {
    without_a_second_person: "nobody approved it",
    as_if_approved_by_the_submitter: "nobody decides on a request of their own",
    with_a_signature_of_controls_own: "the key is not the one of account reviewer",
    with_a_rejection_for_an_approval: "has no approval",
    wider_than_it_was_shown: "it is not what request",
    another_item_than_its_link_says: "the items are not those of its link",
    applied_a_second_time: "was applied before",
    the_same_again: "is in force, and this is",
    one_left_out: "a fork",
    a_fork: "a fork",
    narrower_than_what_never_was: "was not as it is said to have been",
    a_revoked_grant_said_to_be_in_force: "was not as it is said to have been",
    an_account_of_controls_own: "nobody approved it",
    a_key_changed_while_it_was_disabled: "nobody approved it",
    places_changed_while_it_was_suspended: "nobody approved it",
    outside_of_the_chain: "it is in no chain",
    long_after_it_lapsed: "had lapsed",
    at_a_time_that_has_not_come: "is not between",
    by_somebody_disabled_since: "account reviewer is disabled",
    a_deny_taken_away: "nobody approved it",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_control_alone_cannot_put_it_into_force(zone: Zone, forge: Forge) -> None:
    law = forge(zone)
    before = dict(zone.rows), zone.trust
    with pytest.raises(Unlawful, match=FORGED[forge]):
        zone.take(law)
    assert (zone.rows, zone.trust) == before


def test_the_first_accounts_are_those_of_the_configuration_or_nobodys(register: Register) -> None:
    made = Zone(register)
    register.apply_changes([made.account(name) for name in ("sys", "sec", "aud")], "control", "mine", NOW)
    made.trust = Trust(zone="ab" * 32)
    with pytest.raises(Unlawful, match="not those of the zone"):
        made.follow()
