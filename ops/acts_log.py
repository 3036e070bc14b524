"""The log of administrative acts, and of what regulators read: an evidence log of its own beside that of the flows.

Acts are kept for another time than flows, and concern other people; since entries of one log go only in their order,
each such class has its own log (origin NODE/acts). It follows the register's history, which is the system of record and
from which whatever an end kept out of the log is taken in later: one entry for each change, with the digests of what
was there before and after. Other acts, and every reading by a regulator, are entries of their own, and are durable and
under a published checkpoint before they are answered.

    STATE_DIR/acts/acts, acts.key, acts.vkey, …     as those of the flows (telemetry/evidence/log.py)
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from telemetry.evidence.cosigned import COSIGNED, Cosigned
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import open_log
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.note import VerifierKey
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import bundles
from telemetry.evidence.verify import find
from tenants.register import Register

NAME = DIRECTORY = "acts"
BATCH = 4096  # changes taken in one call: the register's thread is not kept for longer
CHANGE, PUT_BACK = "change", "put-back"
_HINT = b'"kind":"change"'


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=1):
    """One entry, as JSON. kind: "change" (of the register: number and revision are its own, before and after SHA-256 of
    the item as it was stored), "put-back" (the register is an older one: its history goes on behind `number`), "read"
    (by a regulator) or another act. time: Unix seconds. facts: what else is to be known, as JSON types."""

    kind: str
    time: int
    actor: str
    number: int = 0
    revision: int = 0
    verb: str = ""
    collection: str = ""
    item: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    facts: dict[str, Any] | None = None


class ActsLog:
    """Of one thread, the register's. The log is opened when it is first needed, and again after an error: without it
    the node must still be able to take rights away."""

    def __init__(
        self,
        state: Path,
        node: str,
        kinds: Sequence[str] = (),
        witnesses: Iterable[VerifierKey] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._node, self._kinds = state / DIRECTORY, node, kinds
        self._now = now
        keys = tuple(witnesses)
        self._cosigned = Cosigned(state / COSIGNED / NAME, keys) if keys else None
        self._log: EvidenceLog | None = None
        self._last = 0  # the number of the last change in it
        self._last_entry = b""

    def catch_up(self, register: Register) -> int:
        """Takes in changes that are not in it, BATCH at most; how many. Raises OSError, EvidenceError,
        RegisterUnavailable."""
        log = self._opened()
        if self._last and self._entry_in(register, self._last) != self._last_entry:
            self._put_back(log, register)
        changes = register.changes_after(self._last, BATCH)
        entries = [entry_of(change) for change in changes]
        self._append(entries)
        if changes:
            self._last, self._last_entry = changes[-1]["number"], entries[-1]
        if self._cosigned:
            self._cosigned.publish(log)
        return len(changes)

    def record(self, act: Act) -> int:
        """Adds one act, before it is done or answered; its index. Raises OSError, EvidenceError: then it must not
        be."""
        self._append([msgspec.json.encode(act)])
        return self._opened().size - 1

    def _append(self, entries: list[bytes]) -> None:
        try:
            self._opened().append(entries)
        except (OSError, EvidenceError):
            self._log = None
            raise

    def _opened(self) -> EvidenceLog:
        if self._log is None:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            log = open_log(self._directory, self._node, self._kinds, NAME)
            found = find(log.reader, log.size, lambda entry: decode(entry).kind == CHANGE, _HINT)
            self._last, self._last_entry = (decode(found[1]).number, found[1]) if found else (0, b"")
            self._log = log
        return self._log

    def _entry_in(self, register: Register, number: int) -> bytes:
        """What the register says of a change today; empty where it has none of this number."""
        found = register.changes_after(number - 1, 1)
        return entry_of(found[0]) if found and found[0]["number"] == number else b""

    def _put_back(self, log: EvidenceLog, register: Register) -> None:
        """Goes on behind the last change that the register and the log agree on, and says so."""

        def agrees(entry: bytes) -> bool:
            act = decode(entry)
            return act.kind == CHANGE and self._entry_in(register, act.number) == entry

        found = find(log.reader, log.size, agrees, _HINT)
        number, entry = (decode(found[1]).number, found[1]) if found else (0, b"")
        reason = f"the register does not have change {self._last} as it was logged"
        act = Act(kind=PUT_BACK, time=int(self._now()), actor="control", number=number, reason=reason)
        self._append([msgspec.json.encode(act)])
        self._last, self._last_entry = number, entry


def entry_of(change: Mapping[str, Any]) -> bytes:
    """The entry of a change, given as a row of the register's history."""
    return msgspec.json.encode(
        Act(
            kind=CHANGE,
            time=change["time"],
            actor=change["actor"],
            number=change["number"],
            revision=change["revision"],
            verb=change["verb"],
            collection=change["collection"],
            item=change["item"],
            before=_digest(change["before"]),
            after=_digest(change["after"]),
            reason=change["reason"],
        )
    )


def decode(entry: bytes) -> Act:
    """Reads an entry. Raises EvidenceError."""
    try:
        return msgspec.json.decode(entry, type=Act)
    except msgspec.DecodeError as error:
        raise EvidenceError(f"an entry of the acts is none: {error}") from None


def compare(reader: Reader, size: int, register: Register) -> tuple[int, int]:
    """The register's history against the log's first `size` entries, which were verified: how many changes agree, and
    how often the register was put back. Raises EvidenceError for the first that was altered or removed behind the log's
    back, RegisterUnavailable."""
    logged, times = _logged(reader, size)
    last = 0
    for act, entry in logged:
        found = register.changes_after(last, 1)
        if not found or found[0]["number"] != act.number:
            raise EvidenceError(
                f"change {act.number} of the register is in the log of acts, and gone from the register"
            )
        if entry_of(found[0]) != entry:
            raise EvidenceError(f"change {act.number} of the register is not as it was logged")
        last = act.number
    return len(logged), times


def _logged(reader: Reader, size: int) -> tuple[list[tuple[Act, bytes]], int]:
    """The changes that the log says the register has, without those that were put back, and how often that was."""
    changes: list[tuple[Act, bytes]] = []
    times = 0
    for bundle in bundles(size):
        for entry in reader.entries(bundle):
            act = decode(entry)
            if act.kind == PUT_BACK:
                times += 1
                while changes and changes[-1][0].number > act.number:
                    changes.pop()
            elif act.kind == CHANGE:
                changes.append((act, entry))
    return changes, times


def _digest(document: str | None) -> str:
    return sha256(document.encode()).hexdigest() if document is not None else ""
