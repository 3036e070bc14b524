"""Whether a revision may be put into force: judged from signatures alone, by whoever holds nothing of control's.

A law is a revision with all that it stands on: its link in the chain, the items as they were and as they are, and the
request that was approved. It is believed in nothing: the chain leads back to the zone's first accounts, whose digest
stands in the node's own configuration; what the items were is compared with the policy in force; what they compile to
is compiled again; and whatever may open something needs a second person's signature. Pure.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from tenants import chain, request
from tenants.accounts import Account, bereft
from tenants.approval import SKEW, Approval, FalseApproval, check
from tenants.change import Changed
from tenants.roles import may
from whitelist import compiler
from whitelist.entries import decode_grants, decode_residents, decode_rows, encode
from whitelist.store import KINDS

Get = Callable[[bytes], bytes | None]
Entries = dict[bytes, bytes | None]
_DECODE: dict[bytes, Callable[[bytes], list[Any]]] = {b"g": decode_grants, b"p": decode_residents}


class Unlawful(Exception):  # noqa: N818 - named for what the revision is
    """A revision that must not be put into force; str() says why in one sentence."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item: its documents before and after, as the register stores them; empty: there was none."""

    collection: str
    id: str
    verb: str
    before: bytes = b""
    after: bytes = b""


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A revision. link: its bytes, empty before there were accounts; content: of the request that it applies."""

    revision: int
    link: bytes = b""
    steps: tuple[Step, ...] = ()
    content: bytes = b""


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is believed so far. head: digest of the last link; time: of it; accounts: their documents by id; applied:
    digests of requests, with the Unix second until which they could be applied again."""

    zone: str
    revision: int = 0
    head: str = chain.NONE
    time: int = 0
    accounts: dict[str, bytes] = {}
    applied: dict[str, int] = {}


def judge(law: Law, trust: Trust, get: Get, now: int) -> tuple[Entries, Trust]:
    """The keys that the revision changes in the policy, and what is believed after it. get reads the policy in force;
    now: Unix seconds. Raises Unlawful."""
    changed = _changed(law)
    if not law.link:
        return _before_accounts(law, trust, changed, get)
    link = _link(law, trust, now)
    _steps(link, changed)
    if not trust.head:
        if chain.digest_of(law.link) != trust.zone:
            raise Unlawful("its first accounts are not those of the zone that the node's configuration names")
    else:
        if not changed:
            pass  # a number that was passed over
        elif law.revision != trust.revision + 1:
            raise Unlawful(f"revision {trust.revision} is in force, so {law.revision} is not the next")
        for one in changed:
            _honest(one, trust, get)
        if not all(KINDS[one.collection].narrows(one.before, one.after) for one in changed):
            _approved(law, link, trust, changed)
    entries = compiler.changed(get, changed)
    accounts = trust.accounts | {one.id: encode_item(one.after) for one in changed if one.collection == "accounts"}
    people = [_account(document) for document in accounts.values()]
    if missing := bereft(people):
        raise Unlawful(f"no {missing} would be left")
    time = max(trust.time, link.time)
    # As long as a link that applies the request again could have a time that is taken.
    applied = {digest: until for digest, until in trust.applied.items() if until + 2 * SKEW > time}
    if law.content:
        applied[link.digest] = request.decode(law.content).submitted + request.LIFE
    after = msgspec.structs.replace(
        trust, revision=law.revision, head=chain.digest_of(law.link), time=time, accounts=accounts, applied=applied
    )
    return entries, after


encode_item = msgspec.json.Encoder().encode


def _before_accounts(law: Law, trust: Trust, changed: list[Changed], get: Get) -> tuple[Entries, Trust]:
    """What one person put in before there were accounts has nobody's word but that person's."""
    if trust.head:
        raise Unlawful("it is in no chain, and there are accounts")
    if law.revision <= trust.revision or any(one.collection == "accounts" for one in changed):
        raise Unlawful(f"revision {law.revision} cannot stand before the first accounts")
    return compiler.changed(get, changed), msgspec.structs.replace(trust, revision=law.revision)


def _changed(law: Law) -> list[Changed]:
    found, seen = [], set()
    for step in law.steps:
        kind = KINDS.get(step.collection)
        if kind is None or (step.collection, step.id) in seen:
            raise Unlawful(f"it changes {step.collection}/{step.id}, which cannot be, or twice")
        seen.add((step.collection, step.id))
        try:
            before, after = (
                msgspec.json.decode(document, type=kind.struct) if document else None
                for document in (step.before, step.after)
            )
        except msgspec.DecodeError as error:
            raise Unlawful(f"{step.collection}/{step.id} is no item: {error}") from None
        if any(item is not None and item.id != step.id for item in (before, after)):
            raise Unlawful(f"{step.collection}/{step.id} is another item")
        found.append(Changed(step.collection, step.id, step.verb, before, after))
    return found


def _link(law: Law, trust: Trust, now: int) -> chain.Link:
    try:
        link = msgspec.json.decode(law.link, type=chain.Link)
    except msgspec.DecodeError as error:
        raise Unlawful(f"its link cannot be read: {error}") from None
    if link.revision != law.revision or law.revision <= trust.revision:
        raise Unlawful(f"revision {trust.revision} is in force, and this is {link.revision} again")
    if link.previous != trust.head:
        raise Unlawful(
            f"it follows {link.previous[:16] or 'nothing'}…, and the last link is {trust.head[:16]}…: a fork"
        )
    if not trust.time - SKEW <= link.time <= now + SKEW:
        raise Unlawful(f"its time {link.time} is not between the last link's {trust.time} and now ({now})")
    return link


def _steps(link: chain.Link, changed: list[Changed]) -> None:
    if link.steps != tuple(map(chain.step_of, changed)):
        raise Unlawful("the items are not those of its link")


def _honest(one: Changed, trust: Trust, get: Get) -> None:
    """What an item is said to have been is what is in force: else something wide could pass for narrower."""
    if one.collection == "accounts":
        known = trust.accounts.get(one.id, b"")
        if known != (b"" if one.before is None else encode_item(one.before)):
            raise Unlawful(f"account {one.id} was not as it is said to have been")
        return
    for key, entry in compiler.rows(one.before):
        value = get(key)
        if key[:1] in compiler.LISTS:
            held = [] if value is None else _DECODE.get(key[:1], decode_rows)(value)
            there = entry in held
        else:
            there = value == encode(entry)
        if not there:
            raise Unlawful(f"{one.collection}/{one.id} was not as it is said to have been")


def _approved(law: Law, link: chain.Link, trust: Trust, changed: list[Changed]) -> None:
    if not law.content:
        raise Unlawful("it opens something, and nobody approved it")
    if request.digest_of(law.content) != link.digest:
        raise Unlawful("its request is not the one that its link names")
    try:
        content = request.decode(law.content)
        approvals = [msgspec.convert(dict(one), Approval) for one in link.approvals]
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unlawful(f"its request or an approval cannot be read: {error}") from None
    if (content.zone, content.id) != (trust.zone, link.request):
        raise Unlawful(f"request {content.id} was made in another zone or for another link")
    if link.digest in trust.applied:
        raise Unlawful(f"request {content.id} was applied before")
    if not content.submitted - SKEW <= link.time < content.submitted + request.LIFE + SKEW:
        raise Unlawful(f"request {content.id} was submitted at {content.submitted} and had lapsed by {link.time}")
    if not request.same(request.shown(changed), content.shown):
        raise Unlawful(f"it is not what request {content.id} showed")
    collections = tuple(sorted({one.collection for one in changed}))
    _asked(content, trust)
    signed = [one for one in approvals if one.decision == "approve" and one.request == content.id]
    if not signed:
        raise Unlawful(f"request {content.id} has no approval")
    for approval in signed:
        document = trust.accounts.get(approval.account)
        if document is None:
            raise Unlawful(f"there is no account {approval.account}, which is said to have approved it")
        if abs(approval.time - link.time) > SKEW:
            raise Unlawful(f"{approval.account} signed at {approval.time}, and it was applied at {link.time}")
        try:
            check(approval, link.digest, _account(document), content.submitter, content.roles, collections)
        except FalseApproval as why:
            raise Unlawful(f"request {content.id}: {why}") from None


def _asked(content: request.Content, trust: Trust) -> None:
    """The submitter is somebody who may ask for this, in the roles that the approver's is compared with."""
    document = trust.accounts.get(content.submitter)
    submitter = None if document is None else _account(document)
    if submitter is None or submitter.disabled:
        raise Unlawful(f"{content.submitter}, who is said to have asked for it, is no account or disabled")
    roles = [role for role in submitter.roles if role in content.roles]
    if set(roles) != set(content.roles):
        raise Unlawful(f"{content.submitter} does not hold the roles of request {content.id}")
    for change in content.changes:
        if not any(may(role, change.collection, change.verb) for role in roles):
            raise Unlawful(f"{content.submitter} may not {change.verb} {change.collection}")


def _account(document: bytes) -> Account:
    return msgspec.json.decode(document, type=Account)


def fingerprint(entries: Entries) -> bytes:
    """A digest of changed keys, to compare a delta with."""
    sha = sha256()
    for key in sorted(entries):
        value = entries[key]
        sha.update(b"%d %d " % (len(key), -1 if value is None else len(value)) + key + (value or b""))
    return sha.digest()
