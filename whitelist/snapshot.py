"""The policy in force, as workers read it: a verified base, the signed deltas since, and `current`, which names both.

Nothing is loaded: the base is mapped and shared by all processes, the deltas lie in a small dictionary that is asked
first. Whatever does not verify, or is not there, is a SnapshotError and never a partial policy.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tenants.model import Side
from whitelist.admitted import Admission
from whitelist.base import Base
from whitelist.catalogue import HostRows, place_key
from whitelist.entries import (
    CredentialEntry,
    LineEntry,
    TenantEntry,
    decode_credential,
    decode_line,
    decode_residents,
    decode_tenant,
)
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.signed import CURRENT, Current, Delta, SnapshotError, Touched, delta_name, opened, read, unseal

__all__ = ["Snapshot", "SnapshotError", "Touched"]

_LOST = "the file is missing"
_TRIES = 3  # a base may be replaced between reading `current` and opening it


class Snapshot:
    """A policy at one revision. For one thread. get(key): the value of a key, or None (whitelist.entries)."""

    base: Base
    revision: int
    deltas: list[Delta]  # applied since the base
    overlay: dict[bytes, bytes | None]  # what they say
    get: Callable[[bytes], bytes | None]
    abroad: frozenset[str]
    prefix_lengths: dict[int, tuple[int, ...]]
    place_lengths: dict[int, tuple[int, ...]]  # the same of places
    known: dict[bytes, HostRows | None]

    def __init__(
        self, directory: Path, public_key: Ed25519PublicKey, opened: Base, admission: Admission | None = None
    ) -> None:
        self.directory = directory
        self._admission = admission
        self._key = public_key
        self._verification: _Verification | None = None
        self._start(opened)

    @classmethod
    def open(cls, directory: Path, public_key: bytes, admission: Admission | None = None) -> Self:
        """The policy in force in a directory, verified by a raw Ed25519 key; with an admission, as far as the notary
        admitted it. Raises SnapshotError."""
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
        except ValueError as error:
            raise SnapshotError("the public key is not 32 bytes of Ed25519", directory, "run feiyu init") from error
        snapshot = cls(directory, key, _open_base(directory, key, admission), admission)
        try:
            snapshot._follow(snapshot.base.current.revision)
        except BaseException:
            snapshot.close()
            raise
        return snapshot

    def advance(self) -> Touched:
        """Takes what was published since, and says what it touched. Raises SnapshotError; the policy is then not to be
        used any more."""
        current = read_current(self.directory, self._key, self._admission)
        if current.revision < self.revision:
            what = f"goes back from revision {self.revision} to {current.revision}"
            raise SnapshotError(what, self.directory / CURRENT)
        if any(not self._has(revision) for revision in range(self.revision + 1, current.base_revision + 1)):
            fresh = _open_base(self.directory, self._key, self._admission)
            self.base.close()
            self._start(fresh)
            self._follow(fresh.current.revision)
            return Touched(everything=True)
        touched = self._follow(current.revision)
        self._change_base(current)
        return touched

    def sweep(self) -> None:
        """Verifies the files again, as they are on the disk and as they are mapped, and that none is missing. Raises
        SnapshotError. Reads the whole base: for a quiet moment."""
        current = read_current(self.directory, self._key, self._admission)
        if current.revision < self.revision:
            raise SnapshotError(f"goes back from revision {self.revision}", self.directory / CURRENT)
        self.base.verify()
        _open_base(self.directory, self._key, self._admission).close()
        for revision in range(current.base_revision + 1, current.revision + 1):
            self._delta(revision)

    def close(self) -> None:
        """Lets go of the files."""
        self.base.close()

    def credential(self, name: str) -> CredentialEntry | None:
        """A credential."""
        value = self.get(b"c" + name.encode())
        return None if value is None else decode_credential(value)

    def tenant(self, name: str) -> TenantEntry | None:
        """A tenant, in whatever state."""
        value = self.get(b"t" + name.encode())
        return None if value is None else decode_tenant(value)

    def residents(self, source_ip: str, interface: str) -> set[str]:
        """The tenants that have a place around this address (canonical text) behind this interface. Raises ValueError
        for what is no address."""
        family, value = (6, parse_v6(source_ip)) if ":" in source_ip else (4, parse_v4(source_ip))
        if value is None:
            raise ValueError("not an IP address")
        lengths = self.place_lengths[family]
        found = (self.get(place_key(interface, family, value, length)) for length in lengths)
        return {resident.id for rows in found if rows is not None for resident in decode_residents(rows)}

    def line(self, name: str) -> LineEntry | None:
        """A line."""
        return self._lines.get(name)

    def lines(self) -> dict[str, LineEntry]:
        """All lines, by id."""
        return dict(self._lines)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values, in order of keys."""
        return merged(self.base, self.overlay)

    def apply(self, delta: Delta) -> None:
        """Goes on to the next revision."""
        if delta.previous != self.revision:
            raise AssertionError(f"delta from revision {delta.previous} on revision {self.revision}")
        self.deltas.append(delta)
        self.revision = delta.revision
        self._lay(delta)
        self._index()

    def adopt(self, fresh: Base) -> None:
        """Reads on from another base with the same policy, made of a revision already reached."""
        kept = [delta for delta in self.deltas if delta.revision > fresh.current.base_revision]
        self.base.close()
        self._start(fresh)
        for delta in kept:
            self.apply(delta)

    def _start(self, opened: Base) -> None:
        """Stands where a base stands."""
        self.base = opened
        self.revision = opened.current.base_revision
        self.deltas = []
        self.overlay = {}
        self.get = opened.get
        self._lengths = {kind: set(_lengths(opened, kind)) for kind in (b"4", b"6", b"p4", b"p6")}
        self._index()

    def _lay(self, delta: Delta) -> None:
        self.overlay.update(delta.entries)
        for key in delta.entries:
            if key[:1] in (b"4", b"6", b"p"):
                start = key.partition(b"/")[0]
                self._lengths[start[:-3]].add(int(start[-3:]))
        if self.overlay:
            self.get = self._get

    def _get(self, key: bytes) -> bytes | None:
        overlay = self.overlay
        return overlay[key] if key in overlay else self.base.get(key)

    def _index(self) -> None:
        """What is kept decoded: lines (at most 255) and lengths of prefixes; hosts as they are asked for."""
        self.known = {}
        found = (decode_line(value) for _, value in merged(self.base, self.overlay, b"l"))
        self._lines = {line.id: line for line in found}
        self.abroad = frozenset(
            line.id for line in self._lines.values() if line.side is Side.ABROAD and not line.retired
        )
        longest_first = {kind: tuple(sorted(has, reverse=True)) for kind, has in self._lengths.items()}
        self.prefix_lengths = {4: longest_first[b"4"], 6: longest_first[b"6"]}
        self.place_lengths = {4: longest_first[b"p4"], 6: longest_first[b"p6"]}

    def _follow(self, revision: int) -> Touched:
        touched = Touched()
        for number in range(self.revision + 1, revision + 1):
            delta = self._delta(number)
            self.apply(delta)
            touched.add(delta.touched)
        return touched

    def _has(self, revision: int) -> bool:
        """Whether the delta to a revision is there to be followed."""
        known = self._admission is None or self._admission.knows(revision)
        return known and (self.directory / delta_name(revision)).exists()

    def _delta(self, revision: int) -> Delta:
        path = self.directory / delta_name(revision)
        try:
            data = read(path)
        except FileNotFoundError as error:
            raise SnapshotError(_LOST, path) from error
        if self._admission is not None:
            self._admission.check(revision, data, path)
        delta = opened(data, path, Delta, self._key)
        if (delta.previous, delta.revision) != (revision - 1, revision):
            raise SnapshotError(f"leads from revision {delta.previous} to {delta.revision}", path)
        return delta

    def _change_base(self, current: Current) -> None:
        """Changes over to a new base once a thread has verified it: a large file must not hold up the connections."""
        waiting = self._verification
        if waiting is not None and not waiting.is_alive():
            self._verification = None
            if waiting.error is not None:
                waiting.base.close()
                raise waiting.error
            if waiting.base.current.base == current.base:
                self.adopt(waiting.base)
            else:
                waiting.base.close()
        if self._verification is None and current.base != self.base.current.base:
            self._verification = _Verification(_found(self.directory, current))
            self._verification.start()


class _Verification(threading.Thread):
    """Verifies a base beside the work; error says what was wrong with it."""

    def __init__(self, unverified: Base) -> None:
        super().__init__(name="verify-base", daemon=True)
        self.base = unverified
        self.error: SnapshotError | None = None

    def run(self) -> None:
        """The thread's work; hashing and reading leave the interpreter to others."""
        try:
            self.base.verify()
        except SnapshotError as error:
            self.error = error
        except OSError as error:
            self.error = SnapshotError(f"cannot be read: {error}", self.base.path)


def merged(under: Base, overlay: dict[bytes, bytes | None], prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Items of a base with those of an overlay in place of theirs, in order of keys."""
    above = iter(sorted(key for key in overlay if key.startswith(prefix)))
    waiting = next(above, None)
    for key, value in under.items(prefix):
        while waiting is not None and waiting <= key:
            if (fresh := overlay[waiting]) is not None:
                yield waiting, fresh
            waiting = next(above, None)
        if key not in overlay:
            yield key, value
    while waiting is not None:
        if (fresh := overlay[waiting]) is not None:
            yield waiting, fresh
        waiting = next(above, None)


def read_current(directory: Path, key: Ed25519PublicKey, admission: Admission | None = None) -> Current:
    """What is in force. Raises SnapshotError."""
    if admission is not None:
        return admission.current()
    try:
        return unseal(directory / CURRENT, Current, key)
    except FileNotFoundError as error:
        raise SnapshotError(_LOST, directory / CURRENT) from error


def _open_base(directory: Path, key: Ed25519PublicKey, admission: Admission | None = None) -> Base:
    """The base in force, verified."""
    current = read_current(directory, key, admission)
    for _ in range(_TRIES):
        try:
            return Base(directory, current)
        except FileNotFoundError:
            before, current = current, read_current(directory, key, admission)
            if before.base == current.base:
                break
    raise SnapshotError(_LOST, directory / current.base)


def _found(directory: Path, current: Current) -> Base:
    """The base of this name, not verified yet."""
    try:
        return Base(directory, current, verified=True)
    except FileNotFoundError as error:
        raise SnapshotError(_LOST, directory / current.base) from error


def _lengths(opened: Base, kind: bytes) -> Iterator[int]:
    """The lengths of the prefixes in a base, by leaps from one to the next. kind: how their keys begin."""
    for length in range(129):
        start = b"%b%03d/" % (kind, length)
        if next(opened.items(start), None) is not None:
            yield length
