"""A real notary beside control: what control publishes is in force once it is lawful, and nothing else is."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.api.notary_client import NotAdmitted, NotaryClient
from tenants.change import Change, Changed
from tenants.model import Origin
from tests.ops.control_kit import GRANT, UNTIL, Node, running
from tests.ops.people_kit import People
from whitelist.admitted import NAME, Admission
from whitelist.document import Document
from whitelist.snapshot import Snapshot, SnapshotError

CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
zone: {1}
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
"""


@contextlib.contextmanager
def notary(root: Path, zone: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process."""
    config = root / "feiyu.yaml"
    config.write_text(CONFIG.format(root, zone))
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.notary", "--config", str(config)], stderr=(root / "notary.log").open("ab")
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGKILL, 1)


@contextlib.asynccontextmanager
async def governed(root: Path) -> AsyncIterator[People]:
    """A node that one person set up, with accounts and a notary since."""
    async with running(root) as node:
        await node.set_up()
        people = People(node)
        await people.found()
        zone = (node.state / "zone").read_text().strip() if await node.authority.governed() else ""
    with notary(root, zone):
        async with running(root, notary=NotaryClient(root / "run" / "notary.sock")) as node:
            people.node = node
            assert node.authority.trouble == ""
            await people.hire()
            yield people


def reader(node: Node, owner: int | None = None) -> Snapshot:
    """The policy as a worker opens it."""
    key = (node.state / "keys" / "snapshot.pub").read_bytes()
    return Snapshot.open(node.state / "snapshot", key, Admission(node.state / "notary" / NAME, owner))


async def granted(people: People, **other: Any) -> dict[str, Any]:
    """A grant by two people; control's answer."""
    _, asked = await people.call("operator", "POST", "/v1/grants", GRANT | other)
    status, answer = await people.approve("reviewer", asked["request"]["id"])
    assert status == 200, answer
    return dict(answer)


def rows(snapshot: Snapshot) -> dict[bytes, bytes]:
    """All of it."""
    return dict(snapshot.items())


async def test_what_two_people_decided_is_admitted_and_read(tmp_path: Path) -> None:
    async with governed(tmp_path) as people:
        before = reader(people.node)
        answer = await granted(people)
        assert answer["enforced"]["acked"] == ["w0", "w1"]
        assert people.node.hub.revisions[-1] == answer["revision"]
        assert before.advance().tenants == {"firm-a"}
        assert before.get(b"gtenant:firm-a|service:docs") is not None
        after = reader(people.node)
        assert (after.revision, rows(after)) == (answer["revision"], rows(before))


async def test_a_new_base_is_admitted_if_it_says_the_same_and_readers_change_over(tmp_path: Path) -> None:
    async with governed(tmp_path) as people:
        follower, authority = reader(people.node), people.node.authority
        await granted(people)
        await authority.run(lambda: authority.policy.publish_all(authority._opened()))
        await authority.beat()
        assert authority.trouble == ""
        follower.advance()
        fresh = reader(people.node)
        assert not fresh.deltas
        assert (follower.revision, rows(follower)) == (fresh.revision, rows(fresh))


GRANTED = {
    "id": "g-own", "subject": "tenant:firm-a", "object": "service:docs", "lines": ["hk1"],
    "window": {"valid_from": 1, "valid_until": UNTIL},
}  # fmt: skip


async def forged_delta(people: People) -> None:
    """Control signs a delta that nobody asked for."""
    authority = people.node.authority
    kind = authority._opened().kinds["grants"].struct
    own = Changed("grants", "g-own", "add", None, msgspec.convert(GRANTED, kind))
    await authority.run(lambda: authority.policy.open().publish([own], authority.policy.revision + 1))


async def forged_base(people: People) -> None:
    """Control publishes a whole policy with one grant more."""
    authority = people.node.authority

    def publish() -> None:
        collections, revision = authority._opened().everything()
        grant = msgspec.convert(GRANTED, authority._opened().kinds["grants"].struct)
        authority.policy.open().publish_all(Document(**{**collections, "grants": [grant]}), revision)

    await authority.run(publish)


async def a_change_behind_the_door(people: People) -> None:
    """Control writes its own register, chain and all, and publishes it."""
    authority = people.node.authority

    def write() -> None:
        register = authority._opened()
        change = Change(collection="grants", verb="add", id="g-own", fields=GRANTED)
        with register.store.transaction(write=True) as connection:
            now = int(authority._clock())
            made = register.perform(connection, [change], "operator", "x", now, Origin.APPROVED)
            applied = register.record(connection, made, "operator", "x", now)
        authority.policy.publish(applied)

    await authority.run(write)


async def a_deny_dropped_from_the_chain(people: People) -> None:
    """Control publishes the register as if a revision had not been."""
    authority = people.node.authority
    status, _ = await people.call("watch", "POST", "/v1/denies", {"id": "d-1", "target": "docs.example.com"})
    assert status == 201

    def publish() -> None:
        collections, revision = authority._opened().everything()
        authority.policy.open().publish_all(Document(**{**collections, "denies": []}), revision)

    await authority.run(publish)


FORGED = {
    forged_delta: "as far as it is lawful",
    forged_base: "is not what lawful revisions come to",
    a_change_behind_the_door: "nobody approved it",
    a_deny_dropped_from_the_chain: "is not what lawful revisions come to",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
async def test_control_alone_puts_nothing_into_force(tmp_path: Path, forge: Any) -> None:
    async with governed(tmp_path) as people:
        node = people.node
        follower = reader(node)
        await forge(people)
        follower.advance()
        before, told = rows(follower), len(node.hub.told)
        with pytest.raises(NotAdmitted, match=FORGED[forge]):
            await node.authority._announce()
        assert [m for m in node.hub.told[told:] if m.get("kind") == "revision"] == []  # no sign of life either
        follower.advance()
        assert rows(follower) == before == rows(reader(node))
        assert b"gtenant:firm-a|service:docs" not in before
        assert FORGED[forge] in (tmp_path / "notary.log").read_text()


async def test_an_admitted_delta_that_is_edited_is_not_read(tmp_path: Path) -> None:
    async with governed(tmp_path) as people:
        await granted(people)
        follower = reader(people.node)
        path = people.node.state / "snapshot" / f"delta-{follower.revision}.bin"
        kept = path.read_bytes()
        await granted(people, subject="group:research")
        path.write_bytes((people.node.state / "snapshot" / f"delta-{follower.revision + 1}.bin").read_bytes())
        with pytest.raises(SnapshotError, match="is not the one that the notary admitted"):
            reader(people.node)
        path.write_bytes(kept)
        assert reader(people.node).revision == follower.revision + 1


async def test_an_admission_that_is_not_the_notarys_own_is_not_read(tmp_path: Path) -> None:
    import os

    async with governed(tmp_path) as people:
        assert reader(people.node, os.geteuid()).revision > 0
        with pytest.raises(SnapshotError, match="is not the notary's own"):
            reader(people.node, os.geteuid() + 1)


async def test_a_notary_that_comes_back_admits_what_was_decided_meanwhile(tmp_path: Path) -> None:
    async with governed(tmp_path) as people:
        node = people.node
        zone = (node.state / "zone").read_text().strip()
        await granted(people)
    async with running(tmp_path) as node:  # without a notary's word nothing more is in force
        people.node = node
        answer = await granted(people, subject="group:research")
        before = reader(node)
        assert before.revision == answer["revision"] - 1
    with notary(tmp_path, zone):
        async with running(tmp_path, notary=NotaryClient(tmp_path / "run" / "notary.sock")) as node:
            assert node.authority.trouble == ""
            assert reader(node).revision == answer["revision"]
            assert reader(node).get(b"ggroup:research|service:docs") is not None


async def test_another_zones_accounts_are_never_believed(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        people = People(node)
        await people.found()
    with notary(tmp_path, "ab" * 32):
        async with running(tmp_path, notary=NotaryClient(tmp_path / "run" / "notary.sock")) as node:
            assert "not those of the zone" in node.authority.trouble
            with pytest.raises(SnapshotError):
                reader(node)
