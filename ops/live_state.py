"""What is in force on this node: revision, states of lines, kills. Pure, but for reading and replacing its one file.

The file fails closed: one that cannot be read or understood is set aside, and a kill of everything, with the id
DAMAGED_ID, is in force (and itself stored) until an operator releases that kill (unkill at
the hub), or stops the node, removes the file and starts it again. No file at all is a new node.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.live import Kill, KillScope, LineState

DAMAGED_ID = "live-state-damaged"
MAX_KILLS = 100  # so that the state message stays within one packet
MAX_BLOCKS = 50  # of these, by rules: the rest is left to people
MAX_LINES = 255


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    seq: int
    revision: int
    lines: dict[str, LineState]
    kills: tuple[Kill, ...]


class _Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: msgspec.Raw
    sha256: str  # of the bytes of state: finds damage, not forgery; the file is the supervisor's own


class RefusedError(Exception):
    """A message that cannot be published; str() says why, in one sentence."""


@dataclass(slots=True)
class LiveState:
    """The state and the last sequence number given out. Times are Unix seconds."""

    seq: int = 0
    revision: int = 0
    lines: dict[str, LineState] = field(default_factory=dict)
    kills: dict[str, Kill] = field(default_factory=dict)

    def set_line(self, line: str, state: LineState) -> None:
        """A line's state. Raises RefusedError when there would be too many lines."""
        if line not in self.lines and len(self.lines) >= MAX_LINES:
            raise RefusedError(f"more than {MAX_LINES} lines")
        self.lines[line] = state

    def engage(self, kill: Kill, now: float) -> None:
        """Puts a kill in force; the same id again replaces it. Raises RefusedError for one without id, without what it
        is about, or already over."""
        if not kill.id:
            raise RefusedError("a kill needs an id")
        if (kill.scope is KillScope.ALL) == bool(kill.value):
            raise RefusedError("a kill of scope all takes no value; any other scope names one")
        if kill.until and kill.until <= now:
            raise RefusedError(f"until {kill.until} is already over")
        if kill.rule and kill.scope in (KillScope.ALL, KillScope.SERVICE):
            raise RefusedError("a rule blocks a tenant, a user, a line or a destination")
        if kill.rate and not (kill.rule and kill.scope is KillScope.TENANT):
            raise RefusedError("only a rule throttles, and only a tenant")
        blocks = sum(bool(other.rule) for other in self.kills.values() if other.id != kill.id)
        if kill.rule and blocks >= MAX_BLOCKS:
            raise RefusedError(f"more than {MAX_BLOCKS} blocks by rules; lift some, or block a wider scope")
        if kill.id not in self.kills and len(self.kills) >= MAX_KILLS:
            raise RefusedError(f"more than {MAX_KILLS} kills; one kill of a wider scope does the same")
        self.kills[kill.id] = kill

    def release(self, kill_id: str) -> None:
        """Ends a kill. Raises RefusedError when none has this id."""
        if self.kills.pop(kill_id, None) is None:
            raise RefusedError(f"no kill {kill_id!r} is in force")

    def expired(self, now: float) -> list[str]:
        """Ids of the kills whose time is over; they are still in force until released."""
        return [kill.id for kill in self.kills.values() if kill.until and kill.until <= now]

    def next_end(self) -> int:
        """When the next kill is over, or 0."""
        return min((kill.until for kill in self.kills.values() if kill.until), default=0)

    def encode(self) -> bytes:
        """The bytes of the file."""
        stored = _Stored(
            version=1, seq=self.seq, revision=self.revision, lines=self.lines, kills=tuple(self.kills.values())
        )
        raw = msgspec.json.encode(stored)
        return msgspec.json.encode(_Sealed(state=msgspec.Raw(raw), sha256=hashlib.sha256(raw).hexdigest())) + b"\n"


def decode(data: bytes) -> LiveState:
    """Reads the bytes of the file. Raises ValueError (msgspec's errors are such) for what encode did not write."""
    sealed = msgspec.json.decode(data, type=_Sealed)
    if hashlib.sha256(bytes(sealed.state)).hexdigest() != sealed.sha256:
        raise ValueError("its digest does not fit its contents")
    stored = msgspec.json.decode(sealed.state, type=_Stored)
    if stored.version != 1:
        raise ValueError(f"version {stored.version} is not known")
    kills = {kill.id: kill for kill in stored.kills}
    return LiveState(seq=stored.seq, revision=stored.revision, lines=dict(stored.lines), kills=kills)


def load(path: Path) -> tuple[LiveState, str]:
    """The stored state, and "" or a sentence about why everything is killed instead."""
    try:
        return decode(path.read_bytes()), ""
    except FileNotFoundError:
        return LiveState(), ""
    except (OSError, ValueError) as error:
        aside = path.with_name(path.name + ".damaged")
        words = f"{path} is damaged ({error}); everything is killed (kill {DAMAGED_ID}); it is kept as {aside}. When "
        words += f"it is known which kills were in force: systemctl stop feiyu && rm {path} && systemctl start feiyu"
    try:
        os.replace(path, aside)
    except OSError as error:
        words += f" (not yet: {error.strerror})"
    state = LiveState()
    state.kills[DAMAGED_ID] = Kill(id=DAMAGED_ID, scope=KillScope.ALL)
    return state, words


def store(path: Path, state: LiveState) -> None:
    """Replaces the file as a whole, durably. Raises OSError; the old file then stands unchanged."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        data = memoryview(state.encode())
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
