"""Who may do what, as Casbin decides it: configs/casbin/roles.conf is the meaning, roles.csv the rules.

There are a hundred rules or so and no connection asks here, so enforce() itself decides. It takes nearly a millisecond
(it scans them all), and a bulk asks thousands of times: as the rules never change in a process, answers are kept.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import as_file, files

import casbin

from tenants.accounts import Role


@cache
def _enforcer() -> casbin.Enforcer:
    base = files("configs").joinpath("casbin")
    with as_file(base / "roles.conf") as model, as_file(base / "roles.csv") as rules:
        made = casbin.Enforcer(str(model), str(rules))
    known = set(Role)
    if strangers := {rule[0] for rule in made.get_policy()} - known:
        raise ValueError(f"configs/casbin/roles.csv names no role: {', '.join(sorted(strangers))}; install it again")
    return made


@lru_cache(maxsize=4096)  # names of collections and verbs may be anything a client says
def may(role: Role, collection: str, verb: str) -> bool:
    """Whether the role may do this. Raises ValueError for rules that name an unknown role."""
    return bool(_enforcer().enforce(role.value, collection, verb))


def holding(roles: Iterable[Role], collection: str, verb: str) -> list[Role]:
    """Those of the roles that may do this, in their order."""
    return [role for role in roles if may(role, collection, verb)]


def approvers(collection: str) -> list[Role]:
    """The roles that may be the second person for changes of a collection."""
    return holding(Role, collection, "approve")
