"""Who made the call that is being answered."""

from contextvars import ContextVar
from dataclasses import dataclass

from tenants.accounts import Account, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """name: the account's id, or the host user's name where there are no accounts; roles: those that allow this call;
    where: where it comes from."""

    name: str
    where: str
    account: Account | None = None
    roles: tuple[Role, ...] = ()


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller_of() -> Caller:
    """The caller; only within a call."""
    found = CALLER.get()
    assert found is not None, "outside of a call"
    return found
