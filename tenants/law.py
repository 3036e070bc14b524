"""What one person may do alone: judged on every change, whichever way it came in, as soon as there are accounts.

A role must allow each change; what may open something that was closed waits for a second person; the rest is done at
once. Changes by nobody's account are the gateway's own: a machine that comes with an invite, and grants from before
there were accounts that two people never stood by.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenants.accounts import ADMINISTRATORS, OF_TENANTS, Account, Role
from tenants.change import ApprovalNeeded, Change, Changed, Forbidden
from tenants.kinds import Kind
from tenants.roles import approvers, holding

LAPSE = "control: lapse"  # no account can have this id


def judge(
    account: Account | None,
    actor: str,
    changes: Sequence[Change],
    items: Sequence[Any],
    changed: Sequence[Changed],
    kinds: Mapping[str, Kind],
) -> tuple[Role, ...]:
    """The roles in which the account may do all of this alone. changes have their ids; items: each after its change;
    changed: the same as one difference. Raises Forbidden, or ApprovalNeeded where it takes a second person."""
    if account is None:
        _own(actor, changes)
        return ()
    if account.disabled:
        raise Forbidden(f"account {account.id} is disabled", "ask an administrator")
    roles: dict[Role, None] = {}
    for index, (change, item) in enumerate(zip(changes, items, strict=True)):
        held = holding(account.roles, change.collection, change.verb)
        if not held:
            who = f"account {account.id} ({', '.join(account.roles)})"
            raise Forbidden(f"{who} may not {change.verb} {change.collection}", _who(change), index=index)
        if held[0] in OF_TENANTS and getattr(item, "subject", "") != f"tenant:{account.tenant}":
            raise Forbidden(f"{change.collection}/{change.id} is not of tenant {account.tenant}", index=index)
        roles[held[0]] = None
    confirms = any(change.verb == "confirm" for change in changes)
    if not confirms and all(kinds[one.collection].narrows(one.before, one.after) for one in changed):
        return tuple(roles)
    waits = sorted({one.collection for one in changed})
    for one in waits:
        if not any(role not in roles for role in approvers(one)):
            raise Forbidden(f"nobody could approve changes of {one} that {account.id} asks for in these roles")
    raise ApprovalNeeded(
        "this waits for a second person",
        changes=tuple(changes),
        changed=tuple(changed),
        roles=tuple(roles),
    )


def found(changes: Sequence[Change], changed: Sequence[Changed]) -> None:
    """Before there are accounts: the first ones, which nobody can approve, are all three administrators at once, or
    none; and nobody is there to confirm anything. Raises Forbidden."""
    if any(change.verb == "confirm" for change in changes):
        raise Forbidden("it takes two people to confirm anything, and there are no accounts", "feiyu init --help")
    first = [one.after for one in changed if one.collection == "accounts"]
    missing = ADMINISTRATORS - {role for account in first for role in account.roles}
    if first and (missing or len(first) != len(ADMINISTRATORS)):
        what = "the first accounts are the three administrators, all at once and nobody else"
        raise Forbidden(what, "feiyu init --help says how")


def _own(actor: str, changes: Sequence[Change]) -> None:
    for index, change in enumerate(changes):
        enrols = change.verb == "use" or (change.verb == "add" and change.fields.get("enrolment"))
        lapses = actor == LAPSE and change.collection == "grants" and change.verb == "suspend"
        if not lapses and (change.collection != "credentials" or not enrols):
            raise Forbidden(f"{actor} is no account", "log in: feiyu login ID", index=index)


def _who(change: Change) -> str:
    able = holding(Role, change.collection, change.verb)
    return f"it takes {' or '.join(able)}" if able else ""
