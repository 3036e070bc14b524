"""What the register must know of a collection to keep it: its struct, its rows, its rules, its actions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Protocol

import msgspec
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from tenants import queries, schema
from tenants.accounts import Account, bereft, validate_account
from tenants.model import GONE, Credential, Origin, Tenant, TenantState

Errors = list[tuple[str, str]]  # (field, message), as the validators return them


class Reader(Protocol):
    """What a rule may see of the register inside the transaction, the changes before it included."""

    @property
    def connection(self) -> Connection:
        """For look-ups by key columns, after flush()."""

    def find(self, collection: str, item: str) -> Any:
        """The item, or None."""

    def flush(self) -> None:
        """Writes what is pending."""

    def next_number(self, table: Table, column: str) -> int:
        """One more than the highest number in the column. Rows keep theirs for ever."""


@dataclass(frozen=True, slots=True)
class Action:
    """A named change of some fields, possible where `allowed` says "" (else it says why not). effect gets the item and
    the time. check, if any, says who still uses the item."""

    effect: Callable[[Any, int], dict[str, Any]]
    refuses: Callable[[Any], str]
    check: Callable[[Reader, Any], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A table that repeats part of an item: parent is its column with the item's id."""

    table: Table
    parent: str
    rows: Callable[[Any], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A collection. keys: key columns of an item's row; children: rows of its child tables; validate: the item alone;
    check: the item among the others; given: fields only the register sets; fixed: fields an edit may not change;
    assign: values of given fields for a new item; users: who forbids its removal (None: never removed); narrows:
    whether an item after a change (None: removed) surely opens nothing that was closed before it (None: new)."""

    collection: str
    noun: str
    struct: type[Any]
    table: Table
    keys: Callable[[Any], dict[str, Any]]
    words: Callable[[Any], str]
    validate: Callable[[Any], Errors]
    check: Callable[[Reader, Any, Any], Errors] = lambda _reader, _before, _after: []
    children: tuple[Child, ...] = ()
    given: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    assign: Callable[[Reader, Any], dict[str, Any]] = lambda _reader, _item: {}
    actions: Mapping[str, Action] = field(default_factory=dict)
    users: Callable[[Reader, str], list[str]] | None = None
    id_prefix: str = ""  # not empty: an absent id is made up, of this and 10 Crockford base32 characters
    made_ids_only: bool = False
    narrows: Callable[[Any, Any], bool] = lambda _before, _after: False


def moves(field_name: str, allowed: Mapping[Any, Any]) -> Action:
    """An action on a state: allowed maps each state it may be fired in to the state after it."""

    def refuses(item: Any) -> str:
        state = getattr(item, field_name)
        return "" if state in allowed else f"it is {state}, not {' or '.join(sorted(allowed))}"

    return Action(effect=lambda item, _now: {field_name: allowed[getattr(item, field_name)]}, refuses=refuses)


def once(
    field_name: str, value: Callable[[int], Any], check: Callable[[Reader, Any], list[str]] | None = None
) -> Action:
    """An action that sets a field that was empty or false, for good."""
    return Action(
        effect=lambda _item, now: {field_name: value(now)},
        refuses=lambda item: f"it is {field_name} already" if getattr(item, field_name) else "",
        check=check,
    )


CONFIRM = Action(
    effect=lambda _item, _now: {},
    refuses=lambda item: "" if item.provenance.origin is Origin.BOOTSTRAP else f"it is {item.provenance.origin}",
)  # what one person put in before there were accounts is stood by as it is: always by two


def words(*parts: str) -> str:
    """Text for searching."""
    return " ".join(part for part in parts if part).casefold()


def place_rows(tenant: Tenant) -> list[dict[str, Any]]:
    """The tenant's prefixes as ranges of 32 hex digits."""
    if tenant.state in GONE:
        return []
    rows = []
    for place in tenant.places:
        network = ip_network(place.prefix)
        rows.append(
            {
                "tenant": tenant.id,
                "interface": place.interface,
                "family": network.version,
                "first": f"{int(network.network_address):032x}",
                "last": f"{int(network.broadcast_address):032x}",
                "prefix": place.prefix,
            }
        )
    return rows


def check_tenant(reader: Reader, before: Tenant | None, after: Tenant) -> Errors:
    """Its groups exist, and its prefixes overlap nobody's on the same access interface: a source address on an
    interface means one tenant and one room."""
    errors = [
        (f"groups[{n}]", f"there is no group {group}")
        for n, group in enumerate(after.groups)
        if reader.find("groups", group) is None
    ]
    rows = place_rows(after)
    if before is not None and rows == place_rows(before):
        return errors
    if rows:
        reader.flush()
    for n, row in enumerate(rows):
        for m, earlier in enumerate(rows[:n]):
            if _overlap(row, earlier):
                errors.append((f"places[{n}].prefix", f"overlaps places[{m}] on interface {row['interface']}"))
        if (other := queries.overlapping_place(reader.connection, row)) is not None:
            errors.append(
                (f"places[{n}].prefix", f"overlaps {other[1]} of tenant {other[0]} on interface {row['interface']}")
            )
    return errors


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    same = one["interface"] == other["interface"] and one["family"] == other["family"]
    return bool(same and one["first"] <= other["last"] and other["first"] <= one["last"])


def check_credential(reader: Reader, before: Credential | None, after: Credential) -> Errors:
    """Its tenant exists and is not gone; the invite it goes back to is that tenant's, and not revoked."""
    tenant = reader.find("tenants", after.tenant)
    if tenant is None:
        return [("tenant", f"there is no tenant {after.tenant}")]
    if before is None and tenant.state in GONE:
        return [("tenant", f"tenant {tenant.id} is {tenant.state}")]
    if before is None and after.enrolment:
        invite = reader.find("credentials", after.enrolment)
        if invite is None or not invite.invite or invite.tenant != after.tenant:
            return [("enrolment", f"there is no invite {after.enrolment} of tenant {after.tenant}")]
        if invite.revoked:
            return [("enrolment", f"invite {invite.id} is revoked, and all that goes back to it")]
    return []


def _refuses_use(credential: Credential) -> str:
    """Why a credential cannot enrol a machine."""
    if not credential.invite:
        return "it is no invite"
    if credential.revoked:
        return "it is revoked"
    return "it is used already" if credential.used else ""


def tenant_kind(validate: Callable[[Any], Errors]) -> Kind:
    """The collection of tenants."""
    return Kind(
        collection="tenants",
        noun="tenant",
        struct=Tenant,
        table=schema.tenants,
        keys=lambda tenant: {"state": tenant.state, "slot": tenant.slot},
        words=lambda tenant: words(tenant.id, tenant.name, tenant.name_zh, tenant.credit_code),
        validate=validate,
        check=check_tenant,
        children=(
            Child(schema.places, "tenant", place_rows),
            Child(
                schema.tenant_groups,
                "tenant",
                lambda tenant: [{"tenant": tenant.id, "group_id": group} for group in dict.fromkeys(tenant.groups)],
            ),
        ),
        given=frozenset({"provenance", "state", "slot"}),
        assign=lambda reader, _tenant: {"slot": reader.next_number(schema.tenants, "slot")},
        actions={
            "suspend": moves(
                "state",
                {TenantState.ACTIVE: TenantState.SUSPENDED, TenantState.RENEWAL_DUE: TenantState.SUSPENDED},
            ),
            "resume": moves("state", {TenantState.SUSPENDED: TenantState.ACTIVE}),
            "confirm": CONFIRM,
        },
    )


def credential_kind(validate: Callable[[Any], Errors]) -> Kind:
    """The collection of credentials."""
    return Kind(
        collection="credentials",
        noun="credential",
        struct=Credential,
        table=schema.credentials,
        keys=lambda credential: {"tenant": credential.tenant, "revoked": credential.revoked},
        words=lambda credential: words(credential.id, credential.tenant, credential.user),
        validate=validate,
        check=check_credential,
        given=frozenset({"provenance", "revoked", "used"}),
        fixed=frozenset({"tenant", "user", "token_sha256", "certificate_sha256", "serial", "invite", "enrolment"}),
        actions={
            "revoke": once("revoked", lambda now: now),
            "confirm": CONFIRM,
            "use": Action(effect=lambda _item, now: {"used": now}, refuses=_refuses_use),
        },
        id_prefix="c-",
        made_ids_only=True,
        # It says who somebody is; what a firm reaches, and from where, stands on the firm.
        narrows=lambda before, after: before is None or after.valid_until <= before.valid_until,
    )


def check_account(reader: Reader, before: Account | None, after: Account) -> Errors:
    """Its firm exists, nobody else has its key, and somebody is left who can change accounts."""
    errors: Errors = []
    if after.tenant and reader.find("tenants", after.tenant) is None:
        errors.append(("tenant", f"there is no tenant {after.tenant}"))
    reader.flush()
    decode = msgspec.json.Decoder(Account).decode
    others = [decode(document) for document in queries.other_accounts(reader.connection, after.id)]
    errors += [("key", f"is the key of account {other.id}") for other in others if other.key == after.key]
    # The first accounts come one after the other, and all in one transaction.
    if others and before is not None and (missing := bereft([*others, after])):
        errors.append(("roles", f"no {missing} would be left, so nobody could change accounts any more"))
    return errors


def account_kind() -> Kind:
    """The collection of accounts. None is ever removed: what it did goes on bearing its name."""
    return Kind(
        collection="accounts",
        noun="account",
        struct=Account,
        table=schema.accounts,
        keys=lambda account: {"disabled": account.disabled},
        words=lambda account: words(account.id, account.name, *account.roles, account.tenant),
        validate=validate_account,
        check=check_account,
        given=frozenset({"provenance", "disabled"}),
        actions={
            "disable": once("disabled", lambda now: now),
            "enable": Action(
                lambda _account, _now: {"disabled": 0},
                lambda account: "" if account.disabled else "it is not disabled",
            ),
        },
        # All else stays as it was: what two people see when it is enabled again is all there is to see.
        narrows=lambda before, after: (
            before is not None
            and after.disabled > 0
            and msgspec.structs.replace(after, disabled=before.disabled, provenance=before.provenance) == before
        ),
    )
