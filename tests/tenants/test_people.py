"""Accounts' own parts: the table of a request's states, codes, passwords, sessions, what opens something, the chain."""

import itertools
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ops.api.sessions import IDLE, LIFE, NONCE_LIFE, Sessions
from tenants import chain, factor, people
from tenants.change import ApprovalNeeded, ConflictingChange
from tenants.register import Register
from tenants.request import LIFE as WAITS
from tenants.request import TRANSITIONS, Request, RequestState, after
from tenants.request import Step as Event
from tenants.requests import Requests
from tenants.store import RegisterUnavailable
from tests.tenants.zone import NOW, ZONE, change, grant
from whitelist.store import KINDS

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_rfc_6238_appendix_b(at: int, code: str) -> None:
    assert factor.code_at(SECRET, at // factor.STEP) == code
    assert factor.step_of(SECRET, code, at, 0) == at // factor.STEP


@pytest.mark.parametrize(
    ("off", "last", "good"),
    [
        pytest.param(0, 0, True, id="now"),
        pytest.param(-1, 0, True, id="a step late"),
        pytest.param(1, 0, True, id="a step early"),
        pytest.param(-2, 0, False, id="two steps late"),
        pytest.param(2, 0, False, id="two steps early"),
        pytest.param(0, 40_000_000, False, id="used already"),
        pytest.param(-1, 40_000_000, False, id="older than the one used last"),
    ],
)
def test_a_code_is_good_for_its_time_and_once(off: int, last: int, good: bool) -> None:
    step = 40_000_000
    found = factor.step_of(SECRET, factor.code_at(SECRET, step + off), step * factor.STEP, last)
    assert found == (step + off if good else None)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345x", "１２３４５６"])
def test_what_has_no_form_of_a_code_is_none(code: str) -> None:
    assert factor.step_of(SECRET, code, NOW, 0) is None


def test_a_password_is_kept_as_a_salted_scrypt_hash() -> None:
    one, other = factor.hash_password("correct horse"), factor.hash_password("correct horse")
    assert one != other
    assert one.startswith("scrypt$32768$8$1$")
    assert factor.password_fits("correct horse", one)
    assert not factor.password_fits("correct horsf", one)


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", "needs 12"),
        ("aaaabbbbaaaabbbb", "too easy"),
        ("alice and the cat", "too easy"),
        ("four words of it", ""),
    ],
)
def test_a_password_that_is_easy_to_guess_will_not_do(password: str, fault: str) -> None:
    found = factor.password_fault(password, "alice")
    assert (fault in found) if fault else found == ""


def request(state: RequestState) -> Request:
    return Request("r-1", state, "alice", ("platform-operator",), ("grants",), NOW, NOW + WAITS, "x", "d", b"")


ALLOWED = {
    (RequestState.SUBMITTED, Event.APPROVE, "bob", 0): RequestState.APPROVED,
    (RequestState.SUBMITTED, Event.REJECT, "bob", 0): RequestState.REJECTED,
    (RequestState.SUBMITTED, Event.WITHDRAW, "alice", 0): RequestState.WITHDRAWN,
    (RequestState.SUBMITTED, Event.LAPSE, "", WAITS): RequestState.LAPSED,
}


@pytest.mark.parametrize(
    ("state", "event", "by", "later"), list(itertools.product(RequestState, Event, ["alice", "bob", ""], [0, WAITS]))
)
def test_of_all_steps_by_all_people_at_all_times_only_four_can_be(
    state: RequestState, event: Event, by: str, later: int
) -> None:
    if not by and event is not Event.LAPSE:
        return  # nobody calls without a name
    expected = ALLOWED.get((state, event, by, later))
    if expected is None:
        with pytest.raises(ConflictingChange):
            after(request(state), event, by, NOW + later)
    else:
        assert after(request(state), event, by, NOW + later) is expected


def test_every_end_is_an_end() -> None:
    assert {state for state, _ in TRANSITIONS} == {RequestState.SUBMITTED}


OPENS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a later end": ("grants", "edit", {"window": {"valid_until": NOW + 90_000}}),
    "an earlier beginning": ("grants", "edit", {"window": {"valid_from": NOW - 1}}),
    "other weekdays": ("grants", "edit", {"window": {"weekdays": [1]}}),
    "another data grade": ("grants", "edit", {"data_grade": "important"}),
    "weaker terms of TLS": ("grants", "edit", {"no_sni": "allow"}),
    "no deny": ("denies", "remove", {}),
    "a deny of fewer ports": ("denies", "edit", {"ports": [443]}),
    "a deny of another target": ("denies", "edit", {"target": "other.example"}),
    "no limit": ("tenants", "edit", {"max_tunnels": 0}),
    "a higher quota": ("tenants", "edit", {"bytes_per_day": 2000}),
    "a special prefix": ("services", "edit", {"special_prefixes": ["10.0.0.0/8"]}),
    "another resolver": ("lines", "edit", {"resolvers": ["198.51.100.54"]}),
}
CLOSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an earlier end": ("grants", "edit", {"window": {"valid_until": NOW + 100}}),
    "a suspension": ("grants", "suspend", {}),
    "a revocation": ("grants", "revoke", {}),
    "a lower limit": ("tenants", "edit", {"max_tunnels": 3}),
    "a quota that there was not": ("tenants", "edit", {"bytes_per_month": 5000}),
    "a deny of more ports": ("denies", "edit", {"ports": [80, 443, 8080]}),
    "a deny of all ports": ("denies", "edit", {"ports": None}),
    "a drained line": ("lines", "drain", {}),
}
ITEMS = {"grants": "g-1", "denies": "d-1", "tenants": "firm-a", "services": "docs", "lines": "hk1"}


@pytest.mark.parametrize("what", [*OPENS, *CLOSES])
def test_what_opens_something_and_what_does_not(register: Register, what: str) -> None:
    collection, verb, fields = {**OPENS, **CLOSES}[what]
    register.apply_changes(ZONE, "root", "set up", NOW)
    more = [
        grant("g-1"),
        change("denies", "add", "d-1", target="bad.example", ports=[80, 443]),
        change("tenants", "edit", "firm-a", max_tunnels=5, bytes_per_day=1000),
    ]
    register.apply_changes(more, "root", "x", NOW)
    applied = register.apply_change(change(collection, verb, ITEMS[collection], **fields), "root", "x", NOW)
    (one,) = applied.changed
    assert KINDS[collection].narrows(one.before, one.after) is (what in CLOSES)


def test_a_session_ends_when_idle_at_its_end_and_for_other_users() -> None:
    sessions = Sessions()
    token = sessions.begin("alice", 7, 0.0)
    assert sessions.use(token, 7, IDLE - 1) is not None
    assert sessions.use(token, 8, IDLE) is None
    assert sessions.use(token, 7, 2 * IDLE - 1.5) is not None
    assert sessions.use(token, 7, 3 * IDLE) is None
    busy = sessions.begin("alice", 7, 0.0)
    ends = [now for now in range(0, int(LIFE) + 600, 600) if sessions.use(busy, 7, float(now)) is None]
    assert ends == [int(LIFE)]
    assert sessions.use("", 7, 1.0) is None


def test_a_nonce_is_good_once_for_whom_it_was_given_and_for_a_while() -> None:
    sessions = Sessions()
    one, two, three = (sessions.nonce("alice", 0.0) for _ in range(3))
    assert not sessions.take(one, "bob", 1.0)
    assert not sessions.take(one, "alice", 1.0), "a wrong try uses it up"
    assert sessions.take(two, "alice", 1.0)
    assert not sessions.take(two, "alice", 1.0)
    assert not sessions.take(three, "alice", NONCE_LIFE + 1)


def links(register: Register) -> list[tuple[int, str, bytes]]:
    with register.store.transaction(write=False) as connection:
        return people.links(connection)


def test_a_chain_that_was_edited_cut_or_turned_is_broken(register: Register) -> None:
    accounts = [
        change("accounts", "add", name, name=name, roles=[role], key=str(n) * 64)
        for n, (name, role) in enumerate(
            {"a": "system-administrator", "b": "security-administrator", "c": "audit-administrator"}.items()
        )
    ]
    register.apply_changes(accounts, "feiyu init", "first", NOW)
    for name in ("one", "two"):
        register.skip_to(register.revision() + 1, "control", name, NOW)
    whole = links(register)
    assert len(whole) == 3
    assert chain.broken(whole) == ""
    revision, digest, data = whole[1]
    edited = data.replace(b'"one"', b'"eno"')
    assert "not what its digest says" in chain.broken([whole[0], (revision, digest, edited), whole[2]])
    again = (revision, chain.digest_of(edited), edited)
    assert "does not follow" in chain.broken([whole[0], again, whole[2]])
    assert "does not follow" in chain.broken([whole[0], whole[2]])
    assert "does not follow" in chain.broken(whole[::-1])


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM links", "links is append-only"),
        ("UPDATE links SET document = ''", "links is append-only"),
        ("DELETE FROM decisions", "decisions is append-only"),
        ("UPDATE decisions SET account = 'x'", "decisions is append-only"),
        ("DELETE FROM requests", "requests is append-only"),
        ("UPDATE requests SET content = ''", "what a request says is fixed"),
    ],
)
def test_links_decisions_and_what_a_request_says_cannot_be_rewritten(
    register: Register, statement: str, why: str
) -> None:
    keys = {"system-administrator": "a", "security-administrator": "b", "audit-administrator": "c"}
    accounts = [
        change("accounts", "add", letter, name=letter, roles=[role], key=letter * 64) for role, letter in keys.items()
    ]
    register.apply_changes(accounts, "feiyu init", "first", NOW)
    with pytest.raises(ApprovalNeeded) as needed:
        register.apply_change(
            change("accounts", "add", "d", name="d", roles=["zone-reviewer"], key="d" * 64), "a", "new", NOW
        )
    requests = Requests(register)
    kept = requests.submit(needed.value, "a", "new", NOW)
    requests.withdraw(kept.id, "a", "not yet", NOW)
    with (
        pytest.raises((IntegrityError, RegisterUnavailable), match=why),
        register.store.transaction(write=True) as connection,
    ):
        connection.execute(text(statement))
    with register.store.transaction(write=False) as connection:
        assert chain.broken(people.links(connection)) == ""
    found, said = requests.get(kept.id)
    assert (found.content, found.state, [one["account"] for one in said]) == (kept.content, "WITHDRAWN", ["a"])
