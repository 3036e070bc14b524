"""Publication and reading, on real files: what a reader sees and when, and that nothing damaged or missing is used."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenants.model import Place, TenantState
from tests.whitelist.policies import (
    KEY,
    PUBLIC,
    added,
    ask,
    edited,
    grant,
    policy,
    removed,
    service,
    short,
    tenant,
)
from whitelist import publisher as publishing
from whitelist.model import Deny, GrantState, Line
from whitelist.publisher import Publisher
from whitelist.signed import delta_name
from whitelist.snapshot import Snapshot, SnapshotError

ITEMS = (tenant(), service("docs", "docs.example.com"), grant())
REVOKED = edited(grant(), state=GrantState.REVOKED)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """A publisher with ITEMS in force at revision 1."""
    with Publisher(tmp_path, KEY) as made:
        made.publish_all(policy(*ITEMS), 1)
        yield made


@pytest.fixture
def worker(publisher: Publisher) -> Iterator[Snapshot]:
    """A reader."""
    opened = Snapshot.open(publisher.directory, PUBLIC)
    yield opened
    opened.close()


def test_a_reader_goes_on_when_told_and_learns_whom_it_touches(publisher: Publisher, worker: Snapshot) -> None:
    assert (worker.revision, short(ask(worker))) == (1, "g-1")
    publisher.publish([REVOKED], 2)
    assert short(ask(worker)) == "g-1"
    touched = worker.advance()
    assert (worker.revision, short(ask(worker)), touched.everything, touched.tenants) == (
        2,
        "not-whitelisted",
        False,
        {"firm-a"},
    )
    assert not worker.advance()


def test_several_revisions_are_taken_in_one_step(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish([REVOKED], 2)
    publisher.publish([added(tenant("firm-b"))], 3)
    publisher.publish([], 4)
    publisher.publish([added(grant("g-9"))], 5)
    assert worker.advance().tenants == {"firm-a", "firm-b"}
    assert (worker.revision, short(ask(worker))) == (5, "g-9")
    late = Snapshot.open(publisher.directory, PUBLIC)
    assert (late.revision, list(late.items())) == (5, list(worker.items()))
    late.close()


def test_the_kept_catalogue_does_not_outlive_its_revision(publisher: Publisher, worker: Snapshot) -> None:
    assert short(ask(worker)) == "g-1"
    publisher.publish([added(Deny(id="d-1", target="*.example.com"))], 2)
    assert worker.advance().everything
    assert short(ask(worker)) == "not-whitelisted"
    publisher.publish([removed(Deny(id="d-1", target="*.example.com"))], 3)
    worker.advance()
    assert short(ask(worker)) == "g-1"


def test_a_first_prefix_of_its_length_is_found_at_once(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish(
        [
            added(Deny(id="d-1", target="203.0.112.0/21")),
            added(service("net", "203.0.113.0/28")),
            added(grant("g-2", thing="service:net")),
        ],
        2,
    )
    worker.advance()
    assert worker.prefix_lengths == {4: (28, 21), 6: ()}
    assert short(ask(worker, "203.0.113.7")) == "not-whitelisted"


def test_a_place_is_found_from_the_delta_on_that_gives_it_and_until_the_one_that_takes_it(
    publisher: Publisher, worker: Snapshot
) -> None:
    places = (Place(site="s", room="r", interface="acc9", prefix="192.0.2.64/27"),)
    moved = edited(tenant(), places=places)
    assert worker.residents("192.0.2.70", "acc9") == set()
    publisher.publish([moved], 2)
    worker.advance()
    assert worker.residents("192.0.2.70", "acc9") == {"firm-a"}
    assert worker.residents("192.0.2.70", "acc0") == worker.residents("192.0.2.63", "acc9") == set()
    publisher.publish([edited(moved.after, state=TenantState.ARCHIVED)], 3)
    worker.advance()
    assert worker.residents("192.0.2.70", "acc9") == set()


def test_lines_are_known_by_id_and_changed_by_delta(publisher: Publisher, worker: Snapshot) -> None:
    assert (sorted(worker.lines()), worker.abroad) == (["hk1", "home", "sg1"], {"hk1", "sg1"})
    publisher.publish([edited(Line(id="hk1", device="l1", index=1), retired=True)], 2)
    worker.advance()
    line = worker.line("hk1")
    assert line is not None
    assert (line.retired, worker.abroad, short(ask(worker))) == (True, {"sg1"}, "direction-not-allowed")


def test_everything_anew_replaces_what_was(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish_all(policy(tenant()), 7)
    assert worker.advance().everything
    assert (worker.revision, short(ask(worker))) == (7, "not-whitelisted")


def test_compaction_changes_nothing_but_the_files(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish([REVOKED], 2)
    worker.advance()
    before = list(worker.items())
    publisher.compact()
    publisher.publish([added(grant("g-2"))], 3)
    deadline = time.monotonic() + 20
    while worker.base.current.base_revision == 1 and time.monotonic() < deadline:
        worker.advance()  # verifies the new base beside the work, then changes over
    assert (worker.base.current.base_revision, worker.revision, set(worker.overlay)) == (
        2,
        3,
        {b"gtenant:firm-a|service:docs"},
    )
    late = Snapshot.open(publisher.directory, PUBLIC)
    assert list(late.items()) == list(worker.items()) != before
    late.close()


def test_a_reader_that_slept_through_compactions_finds_its_way(publisher: Publisher, worker: Snapshot) -> None:
    number = 1
    for _ in range(3):
        number += 1
        publisher.publish([edited(tenant(), max_tunnels=number)], number)
        publisher.compact()
    assert worker.advance().everything
    entry = worker.tenant("firm-a")
    assert entry is not None
    assert (worker.revision, entry.max_tunnels) == (4, 4)


def test_deltas_become_a_base_by_themselves_and_old_files_go(
    publisher: Publisher, worker: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "COMPACT_DELTAS", 5)
    for number in range(2, 60):
        publisher.publish([edited(tenant(), max_tunnels=number)], number)
        assert worker.advance().tenants == {"firm-a"}
    publisher.compact()
    names = sorted(path.name for path in publisher.directory.iterdir())
    assert len([name for name in names if name.startswith("base-")]) == 2
    assert len(names) < 40
    entry = worker.tenant("firm-a")
    assert entry is not None
    assert entry.max_tunnels == 59


def test_very_many_changes_make_a_base_not_a_delta(
    publisher: Publisher, worker: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "COMPACT_KEYS", 10)
    publisher.publish([added(tenant(f"firm-{n}")) for n in range(50)], 2)
    assert not (publisher.directory / delta_name(2)).exists()
    assert worker.advance().everything
    assert worker.tenant("firm-49") is not None
    assert short(ask(worker)) == "g-1"


# What is damaged or missing.


def flip(path: Path, offset: int = -1) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[offset if offset >= 0 else len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """The last byte."""
    path.write_bytes(path.read_bytes()[:-1])


def base_of(directory: Path) -> Path:
    """The base file."""
    return next(directory.glob("base-*"))


def other_key(directory: Path) -> None:
    """All of it, signed by somebody else."""
    shutil.rmtree(directory)
    with Publisher(directory, Ed25519PrivateKey.generate().private_bytes_raw()) as made:
        made.publish_all(policy(*ITEMS), 1)


def passed_off(directory: Path) -> None:
    """A delta, rightly signed, as `current`."""
    (directory / "current").write_bytes((directory / "delta-2.bin").read_bytes())


DAMAGE: list[Any] = [
    pytest.param(lambda d: (d / "current").unlink(), "current", "missing", id="no current"),
    pytest.param(lambda d: flip(d / "current"), "current", "signed", id="a bit of current"),
    pytest.param(lambda d: cut(d / "current"), "current", "damaged", id="current cut short"),
    pytest.param(lambda d: (d / "current").write_bytes(b""), "current", "damaged", id="an empty current"),
    pytest.param(passed_off, "current", "signed", id="a delta passed off as current"),
    pytest.param(lambda d: base_of(d).unlink(), "base-", "missing", id="no base"),
    pytest.param(lambda d: flip(base_of(d)), "base-", "digest", id="a bit of the base"),
    pytest.param(lambda d: flip(base_of(d), 5), "base-", "digest", id="a bit of the base's unused bytes"),
    pytest.param(lambda d: cut(base_of(d)), "base-", "bytes instead of", id="the base cut short"),
    pytest.param(lambda d: base_of(d).write_bytes(b""), "base-", "0 bytes", id="an empty base"),
    pytest.param(lambda d: (d / "delta-2.bin").unlink(), "delta-2", "missing", id="a delta gone from the middle"),
    pytest.param(lambda d: (d / "delta-3.bin").unlink(), "delta-3", "missing", id="the last delta gone"),
    pytest.param(lambda d: flip(d / "delta-2.bin"), "delta-2", "signed", id="a bit of a delta"),
    pytest.param(lambda d: cut(d / "delta-3.bin"), "delta-3", "damaged", id="a delta cut short"),
    pytest.param(
        lambda d: shutil.copy(d / "delta-2.bin", d / "delta-3.bin"),
        "delta-3",
        "leads from revision 1 to 2",
        id="a delta twice",
    ),
    pytest.param(other_key, "current", "signed", id="another node's policy"),
]


@pytest.mark.parametrize(("damage", "file", "what"), DAMAGE)
def test_what_is_damaged_or_missing_is_not_used(
    tmp_path: Path, damage: Callable[[Path], Any], file: str, what: str
) -> None:
    directory = tmp_path / "snapshot"
    with Publisher(directory, KEY) as made:
        made.publish_all(policy(*ITEMS), 1)
        made.publish([REVOKED], 2)
        made.publish([], 3)
    open_worker = Snapshot.open(directory, PUBLIC)
    damage(directory)
    with pytest.raises(SnapshotError) as caught:
        Snapshot.open(directory, PUBLIC)
    assert what in caught.value.what
    assert Path(caught.value.file).name.startswith(file)
    assert caught.value.remedy
    with pytest.raises(SnapshotError):
        open_worker.sweep()
    open_worker.close()
    with Publisher(directory, KEY) as made:  # control sees it too, loses no number, and mends it from the register
        assert (made.valid, made.fault is not None) == (False, True)
        assert made.revision in {1, 2, 3}
        made.publish_all(policy(*ITEMS), 4)
        assert made.valid
    mended = Snapshot.open(directory, PUBLIC)
    mended.sweep()
    mended.close()


def test_a_policy_of_before_is_not_taken_back(publisher: Publisher, worker: Snapshot) -> None:
    old = (publisher.directory / "current").read_bytes()
    publisher.publish([REVOKED], 2)
    worker.advance()
    (publisher.directory / "current").write_bytes(old)
    with pytest.raises(SnapshotError, match="goes back from revision 2 to 1"):
        worker.advance()


def test_a_delta_lost_before_it_was_taken_stops_the_reader(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish([REVOKED], 2)
    publisher.publish([], 3)
    (publisher.directory / "delta-2.bin").unlink()
    with pytest.raises(SnapshotError, match=r"delta-2\.bin: the file is missing"):
        worker.advance()


def test_a_new_base_that_is_damaged_is_not_changed_over_to(publisher: Publisher, worker: Snapshot) -> None:
    publisher.publish([REVOKED], 2)
    worker.advance()
    publisher.compact()
    flip(next(publisher.directory.glob("base-2-*")))

    def go_on() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            worker.advance()

    with pytest.raises(SnapshotError, match="digest"):
        go_on()


def test_an_unreadable_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="missing"):
        Snapshot.open(tmp_path / "nowhere", PUBLIC)
    (tmp_path / "current").mkdir()
    with pytest.raises(SnapshotError, match="cannot be read"):
        Snapshot.open(tmp_path, PUBLIC)


# The publisher.


def test_two_publishers_do_not_share_a_directory(publisher: Publisher) -> None:
    with pytest.raises(SnapshotError, match="locked"):
        Publisher(publisher.directory, KEY)


def test_a_new_publisher_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    with Publisher(tmp_path, KEY) as made:
        assert (made.revision, made.valid, made.fault) == (0, False, None)
        made.publish_all(policy(*ITEMS), 5)
        made.publish([added(grant("g-2"))], 6)
    with Publisher(tmp_path, KEY) as made:
        assert (made.revision, made.valid) == (6, True)
        made.publish([REVOKED], 7)
    worker = Snapshot.open(tmp_path, PUBLIC)
    assert (worker.revision, short(ask(worker))) == (7, "g-2")
    worker.close()


def test_a_revision_that_is_not_the_next_is_refused_and_changes_nothing(publisher: Publisher, worker: Snapshot) -> None:
    for number in (1, 3, 0):
        with pytest.raises(SnapshotError, match="not the next"):
            publisher.publish([REVOKED], number)
    assert not worker.advance()
    assert publisher.revision == 1


def test_a_disk_that_is_full_leaves_the_policy_in_force(
    publisher: Publisher, worker: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # a write beyond fails, as on a full disk
    try:
        with pytest.raises(OSError, match="large"):
            publisher.publish([REVOKED], 2)
        with pytest.raises((SnapshotError, OSError)):
            publisher.publish_all(policy(*ITEMS), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not worker.advance()
    assert (publisher.revision, publisher.valid) == (1, True)
    publisher.publish([REVOKED], 2)
    worker.advance()
    assert short(ask(worker)) == "not-whitelisted"


KILLED = """
import sys
from pathlib import Path
from tests.whitelist.policies import *
from tests.whitelist.policies import edited, policy, tenant, service, grant, KEY
from whitelist import publisher as p
p.COMPACT_DELTAS = 3
with p.Publisher(Path(sys.argv[1]), KEY) as made:
    n = made.revision
    if not n:
        made.publish_all(policy(tenant(), service("docs", "docs.example.com"), grant()), 1)
    while True:
        n = made.revision + 1
        made.publish([edited(tenant(max_tunnels=made.snapshot.tenant("firm-a").max_tunnels), max_tunnels=n)], n)
        print(n, flush=True)
"""


def test_killed_at_any_moment_the_policy_is_whole(tmp_path: Path) -> None:
    said = 0
    for n in range(6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(3 + n):
            said = int(process.stdout.readline())
        process.kill()
        said = max([said, *(int(line) for line in process.stdout.read().split("\n") if line)])
        process.wait()
        process.stdout.close()
        worker = Snapshot.open(tmp_path, PUBLIC)
        entry = worker.tenant("firm-a")
        assert entry is not None
        assert entry.max_tunnels == worker.revision >= said
        worker.sweep()
        worker.close()


READER = """
import os, sys
from pathlib import Path
from tests.whitelist.policies import PUBLIC, ask, short
from whitelist.snapshot import Snapshot
os.setgid(65534); os.setuid(65534)
worker = Snapshot.open(Path(sys.argv[1]), PUBLIC)
print(short(ask(worker)), flush=True)
sys.stdin.readline()
worker.advance()
print(short(ask(worker)), flush=True)
try:
    open(sys.argv[1] + "/current", "ab")
except PermissionError:
    print("cannot write")
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_a_reader_of_another_user_with_read_access_only(publisher: Publisher) -> None:
    directory = Path("/tmp") / f"fyt-{os.getpid()}-snapshot"  # a path that any user may go through
    shutil.copytree(publisher.directory, directory)
    directory.chmod(0o755)
    try:
        with Publisher(directory, KEY) as own:
            process = subprocess.Popen(
                [sys.executable, "-c", READER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdin is not None
            assert process.stdout is not None
            before = process.stdout.readline().strip()
            own.publish([REVOKED], 2)
            after = process.communicate("\n", timeout=30)[0].split("\n")
        assert [before, *after[:2]] == ["g-1", "not-whitelisted", "cannot write"]
    finally:
        shutil.rmtree(directory)


def test_hosts_that_clients_make_up_do_not_fill_the_memory(worker: Snapshot) -> None:
    for n in range(50):
        assert short(ask(worker, f"a.b{n}.c{n}.example.org")) == "not-whitelisted"
    assert worker.known == {}
    assert short(ask(worker)) == "g-1"
    assert set(worker.known) == {b"hdocs.example.com", b"wexample.com", b"wcom"}
