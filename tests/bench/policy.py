"""The population as a policy in force: published into a node's state directory, or put into its register. As a program:
what policy as files takes (tests.bench.policy_files)."""

import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from ops.keys import load_keys
from tenants.change import Change
from tenants.model import Credential
from tests.bench import population
from whitelist.document import Document
from whitelist.publisher import Publisher
from whitelist.store import open_register

WHO, WHY = "bench", "benchmark"


def publish(state: Path, tenants: int, each: int, more: Iterable[Credential] = ()) -> float:
    """Compiles and publishes revision 1, as control does from its register; the seconds it took. more: further
    credentials. The bulk of the register is not written for it: a million grants would take it minutes."""
    state.mkdir(parents=True)
    keys = load_keys(state)
    document = Document(
        tenants=map(population.tenant, range(tenants)),
        credentials=chain(map(population.credential, range(tenants)), more),
        services=map(population.service, range(population.SERVICES)),
        grants=population.grants(tenants, each),
        lines=[population.LINE],
    )
    started = time.monotonic()
    with Publisher(state / "snapshot", keys.snapshot) as publisher:
        publisher.publish_all(document, 1)
    return time.monotonic() - started


def register(state: Path, tenants: int, each: int) -> float:
    """Fills a new register, which control will publish; the seconds it took."""
    state.mkdir(parents=True)
    started = time.monotonic()
    book = open_register(state / "register.db", create=True)
    changes = [
        *adds("lines", [population.LINE], "index", "drained", "retired"),
        *adds("services", map(population.service, range(population.SERVICES)), "retired"),
        *adds("tenants", map(population.tenant, range(tenants)), "slot", "state"),
        *adds("credentials", map(population.credential, range(tenants)), "revoked"),
        *adds("grants", population.grants(tenants, each), "state"),
    ]
    book.apply_changes(changes, WHO, WHY, int(time.time()))
    book.store.close()
    return time.monotonic() - started


def adds(collection: str, items: Iterable[Any], *given: str) -> list[Change]:
    """The changes that add these items, without what the register gives itself."""
    changes = []
    for item in items:
        fields = {
            name: value for name, value in msgspec.to_builtins(item).items() if name not in ("id", "provenance", *given)
        }
        changes.append(Change(collection=collection, verb="add", id=item.id, fields=fields))
    return changes


if __name__ == "__main__":  # the figures of policy as files
    from tests.bench.policy_files import main

    main()
