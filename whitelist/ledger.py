"""The notary's own copy of the policy, led forward by lawful revisions alone, and compared with what is published.

Rows and what is believed are changed in one transaction of an LMDB database, so that a notary that is killed stands
before a revision or behind it.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import lmdb
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from telemetry.whole import write_whole
from whitelist.admitted import NAME, Admitted
from whitelist.base import Base
from whitelist.lawful import Law, Trust, Unlawful, fingerprint, judge
from whitelist.signed import CURRENT, Current, Delta, SnapshotError, delta_name, opened, read
from whitelist.snapshot import merged

_MAP = 1 << 38
_TRUST = b"trust"
_LAW = re.compile(r"law-(\d+)\.bin").fullmatch


def law_name(revision: int) -> str:
    """The file that control puts a law into, beside the policy."""
    return f"law-{revision}.bin"


class Ledger:
    """A directory of the notary's. zone: the digest that the chain begins with. Raises lmdb.Error, OSError."""

    def __init__(self, directory: Path, zone: str) -> None:
        self._directory = directory
        # metasync: power loss may take the last revision, which control then lays out again.
        path = str(directory / "ledger.lmdb")
        self._env = lmdb.open(path, subdir=False, max_dbs=2, map_size=_MAP, mode=0o600, metasync=False)
        self._rows = self._env.open_db(b"rows")
        self._own = self._env.open_db(b"own")
        self._fresh: dict[int, bytes] = {}  # fingerprints of the keys that lawful revisions changed, since the start
        with self._env.begin(db=self._own) as txn:
            kept = txn.get(_TRUST)
        self.trust = Trust(zone=zone) if kept is None else msgspec.msgpack.decode(kept, type=Trust)
        if self.trust.zone != zone:
            raise Unlawful(f"this ledger is of zone {self.trust.zone}, and the configuration names {zone}")
        self._admitted = self._read_admitted()

    @property
    def revision(self) -> int:
        """The revision that was admitted last, 0 for none."""
        return 0 if self._admitted is None else self._admitted.current.revision

    def close(self) -> None:
        """Lets go of the database."""
        self._env.close()

    def follow(self, snapshot: Path, now: int) -> None:
        """Takes the laws that control laid out, one by one. Raises Unlawful for the first that is none."""
        found = sorted(int(name[1]) for path in snapshot.iterdir() if (name := _LAW(path.name)))
        for revision in found:
            if revision <= self.trust.revision:
                continue
            try:
                law = msgspec.msgpack.decode((snapshot / law_name(revision)).read_bytes(), type=Law)
            except (msgspec.DecodeError, ValueError) as error:
                raise Unlawful(f"the law of revision {revision} cannot be read: {error}") from None
            if law.revision != revision:
                raise Unlawful(f"the law of revision {revision} is about revision {law.revision}")
            self._take(law, now)

    def admit(self, snapshot: Path, public_key: bytes) -> int:
        """Compares what is published with the ledger and, where they agree, admits it; its revision. Raises Unlawful,
        SnapshotError, FileNotFoundError."""
        key = Ed25519PublicKey.from_public_bytes(public_key)
        current = opened(read(snapshot / CURRENT), snapshot / CURRENT, Current, key)
        if current.revision != self.trust.revision:
            what = f"revision {current.revision} is published, and {self.trust.revision} is as far as it is lawful"
            raise Unlawful(what)
        deltas, digests = {}, {}
        for revision in range(current.base_revision + 1, current.revision + 1):
            path = snapshot / delta_name(revision)
            data = read(path)
            deltas[revision], digests[revision] = opened(data, path, Delta, key), sha256(data).digest()
        if not self._follows(current, deltas, digests):
            self._compare(snapshot, current, deltas)
        self._admitted = Admitted(current=current, deltas=self._earlier(current) | digests)
        write_whole(self._directory / NAME, msgspec.msgpack.encode(self._admitted), 0o644)
        self._fresh.clear()
        return current.revision

    def _take(self, law: Law, now: int) -> None:
        with self._env.begin(write=True) as txn:
            entries, trust = judge(law, self.trust, lambda key: txn.get(key, db=self._rows), now)
            for key, value in entries.items():
                if value is None:
                    txn.delete(key, db=self._rows)
                else:
                    txn.put(key, value, db=self._rows)
            txn.put(_TRUST, msgspec.msgpack.encode(trust), db=self._own)
        self.trust = trust
        self._fresh[law.revision] = fingerprint(entries)

    def _follows(self, current: Current, deltas: dict[int, Delta], digests: dict[int, bytes]) -> bool:
        """Whether only deltas were added to what was admitted, each with exactly the keys of its law."""
        known = self._admitted
        if known is None or known.current.base_digest != current.base_digest:
            return False
        for revision, delta in deltas.items():
            if revision <= known.current.revision:
                if known.deltas.get(revision) != digests[revision]:
                    return False
            elif self._fresh.get(revision) != fingerprint(delta.entries) or delta.previous != revision - 1:
                return False
        return True

    def _earlier(self, current: Current) -> dict[int, bytes]:
        """Deltas of the base before: whoever still reads that one follows them to the new one."""
        known = self._admitted
        if known is None:
            return {}
        same = known.current.base_digest == current.base_digest
        return {n: digest for n, digest in known.deltas.items() if same or n > known.current.base_revision}

    def _compare(self, snapshot: Path, current: Current, deltas: dict[int, Delta]) -> None:
        """Reads all that is published against all that is lawful."""
        overlay: dict[bytes, bytes | None] = {}
        for delta in deltas.values():
            overlay |= delta.entries
        base = Base(snapshot, current)
        try:
            for published, lawful in _beside(merged(base, overlay), self._items()):
                if published != lawful:
                    key = (lawful or published or (b"", b""))[0]
                    raise Unlawful(f"what is published is not what lawful revisions come to, at the key {key!r:.80}")
        finally:
            base.close()

    def _items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._env.begin(db=self._rows) as txn, txn.cursor() as cursor:
            yield from cursor

    def _read_admitted(self) -> Admitted | None:
        try:
            return msgspec.msgpack.decode((self._directory / NAME).read_bytes(), type=Admitted)
        except (FileNotFoundError, msgspec.DecodeError, ValueError):
            return None


def _beside[T](one: Iterator[T], other: Iterator[T]) -> Iterator[tuple[T | None, T | None]]:
    while True:
        pair = next(one, None), next(other, None)
        if pair == (None, None):
            return
        yield pair


__all__ = ["Ledger", "SnapshotError", "Unlawful", "law_name"]
