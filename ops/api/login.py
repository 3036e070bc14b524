"""Logging in and out: a password and a code, set with the account's key; and who one is.

POST /v1/login/challenge {account} → {nonce, factors: "set" | "missing", key}
POST /v1/login/factors {account, nonce, password, signature} → {secret, uri}; only while they are missing
POST /v1/login {account, password, code} → {token, idle, life, account}
"""

import asyncio
import time
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ops.api.actor import SESSIONS, uid_of
from ops.api.authority import AUTHORITY
from ops.api.caller import caller_of
from ops.api.problems import Problem
from ops.api.resources import answer, body_with_reason
from ops.api.sessions import IDLE, LIFE
from ops.api.status import NODE
from tenants import factor, people
from tenants.accounts import Account
from tenants.people import Factors
from tenants.register import Register

LOGGING_IN = web.AppKey("logging_in", asyncio.Lock)  # one at a time, so that no two guesses count as one
_NOBODY = factor.hash_password("nobody", b"\0" * 16)  # compared with where there is no such account


def routes() -> list[web.RouteDef]:
    """The routes; they stand before those with {collection}."""
    return [
        web.post("/v1/login/challenge", challenge),
        web.post("/v1/login/factors", set_factors),
        web.post("/v1/login", log_in),
        web.post("/v1/logout", log_out),
        web.get("/v1/whoami", whoami),
        web.post("/v1/accounts/{id}/reset", reset),
    ]


async def challenge(request: web.Request) -> web.Response:
    """What is needed of an account next, and a nonce to sign."""
    fields = await _texts(request, "account")
    account, kept = await _look(request, fields["account"])
    if account is None:
        raise _unknown(fields["account"])
    nonce = request.app[SESSIONS].nonce(account.id, time.monotonic())
    return answer({"nonce": nonce, "factors": "missing" if kept is None else "set", "key": account.key})


async def set_factors(request: web.Request) -> web.Response:
    """Sets password and code on the word of the account's key. The secret is in this answer and in no other."""
    fields = await _texts(request, "account", "nonce", "password", "signature")
    account, kept = await _look(request, fields["account"])
    if account is None or account.disabled:
        raise _unknown(fields["account"])
    if kept is not None:
        what, remedy = f"{account.id} has factors already", "log in, then: feiyu account factor"
        raise Problem(409, "factors", "Not possible now", what, remedy)
    if not request.app[SESSIONS].take(fields["nonce"], account.id, time.monotonic()):
        raise Problem(403, "nonce", "Forbidden", "the challenge is not one that was given", "begin again")
    signed = factor.setting_text(account.id, fields["nonce"], fields["password"])
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(account.key))
        public.verify(bytes.fromhex(fields["signature"]), signed)
    except (InvalidSignature, ValueError):
        raise Problem(403, "signature", "Forbidden", f"this is not the key of account {account.id}", "use it") from None
    if fault := factor.password_fault(fields["password"], account.id):
        raise Problem(422, "invalid", "Not valid", "the password will not do", "choose another", [("password", fault)])
    password = await asyncio.to_thread(factor.hash_password, fields["password"])
    secret = factor.new_secret()
    authority = request.app[AUTHORITY]
    await authority.read(lambda register: _set(register, account.id, password, secret))
    authority.acts.did(f"set factors of {account.id} from {caller_of().where}", authority.revision)
    return answer({"secret": secret, "uri": factor.uri(secret, account.id, request.app[NODE])})


async def log_in(request: web.Request) -> web.Response:
    """A session for both factors. Five wrong ones in a row lock the account for a quarter of an hour."""
    fields = await _texts(request, "account", "password", "code")
    authority, name, now = request.app[AUTHORITY], fields["account"], int(time.time())
    where = caller_of().where
    async with request.app[LOGGING_IN]:
        account, kept = await _look(request, name)
        if kept is not None and kept.locked_until > now:
            authority.acts.did(f"refused login of {name} from {where}: locked", authority.revision)
            wait = kept.locked_until - now
            raise Problem(
                429, "locked", "Locked", f"account {name} is locked for {wait} s more", "wait, or ask a reset"
            )
        expected = _NOBODY if kept is None else kept.password
        fits = await asyncio.to_thread(factor.password_fits, fields["password"], expected)
        step = None if kept is None else factor.step_of(kept.secret, fields["code"], now, kept.last_step)
        good = account is not None and not account.disabled and kept is not None and fits and step is not None
        if not good:
            locked = kept is not None and await authority.read(lambda register: _failed(register, name, kept, now))
            words = "and is locked now" if locked else "wrong password or code"
            authority.acts.did(f"refused login of {name} from {where}: {words}", authority.revision)
            raise Problem(
                403, "login", "Forbidden", "account, password or code is wrong, or the code was used", "again"
            )
        assert account is not None
        assert step is not None
        await authority.read(lambda register: _succeeded(register, name, step))
    token = request.app[SESSIONS].begin(name, uid_of(request), time.monotonic())
    authority.acts.did(f"login of {name} from {where}", authority.revision)
    return answer({"token": token, "idle": int(IDLE), "life": int(LIFE), "account": _shown(account)})


async def log_out(request: web.Request) -> web.Response:
    """Ends this session."""
    authority, caller = request.app[AUTHORITY], caller_of()
    request.app[SESSIONS].end(request.headers.get("Authorization", "").partition(" ")[2])
    authority.acts.did(f"logout of {caller.name} from {caller.where}", authority.revision)
    return answer({})


async def whoami(_request: web.Request) -> web.Response:
    """The caller: account with name, roles and key, or the host's user where there are no accounts."""
    caller = caller_of()
    account = None if caller.account is None else _shown(caller.account)
    return answer({"account": account, "user": caller.name, "where": caller.where})


async def reset(request: web.Request) -> web.Response:
    """Takes an account's factors away and ends its sessions: they are set again with its key at the next login."""
    fields, reason = await body_with_reason(request)
    if fields or not reason.strip():
        raise Problem(422, "invalid", "Not valid", "a reset takes a reason only", "say why", [("reason", "is needed")])
    authority, name, caller = request.app[AUTHORITY], request.match_info["id"], caller_of()
    if (await _look(request, name))[0] is None:
        raise _unknown(name)
    await authority.read(lambda register: _forget(register, name))
    request.app[SESSIONS].end_all(name)
    authority.acts.did(f"reset factors of {name} by {caller.name} from {caller.where}", authority.revision)
    return answer({"id": name, "factors": "missing"})


def _shown(account: Account) -> dict[str, Any]:
    fields = ("id", "name", "roles", "key", "tenant")
    return {name: getattr(account, name) for name in fields}


def _unknown(name: str) -> Problem:
    return Problem(404, "unknown", "Not found", f"there is no account {name}", "have an administrator add it")


async def _texts(request: web.Request, *names: str) -> dict[str, str]:
    fields, _ = await body_with_reason(request)
    errors = [(name, "needs text") for name in names if not isinstance(fields.get(name), str)]
    errors += [(name, "is no field here") for name in fields if name not in names]
    if errors:
        raise Problem(422, "invalid", "Not valid", "the fields are not those of a login", "correct them", errors)
    return fields


async def _look(request: web.Request, name: str) -> tuple[Account | None, Factors | None]:
    return await request.app[AUTHORITY].read(lambda register: _both(register, name))


def _both(register: Register, name: str) -> tuple[Account | None, Factors | None]:
    with register.store.transaction(write=False) as connection:
        return people.account(connection, name), people.factors(connection, name)


def _set(register: Register, name: str, password: str, secret: str) -> None:
    with register.store.transaction(write=True) as connection:
        people.set_factors(connection, name, password, secret)


def _forget(register: Register, name: str) -> None:
    with register.store.transaction(write=True) as connection:
        people.forget_factors(connection, name)


def _failed(register: Register, name: str, kept: Factors, now: int) -> bool:
    with register.store.transaction(write=True) as connection:
        return people.failed(connection, name, kept, now)


def _succeeded(register: Register, name: str, step: int) -> None:
    with register.store.transaction(write=True) as connection:
        people.succeeded(connection, name, step)
