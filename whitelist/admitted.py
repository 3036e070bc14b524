"""Which published policy the notary admitted: where a node has one, its readers go by this file instead of `current`.

It names the base by its digest and every delta by its own, and lies where only the notary can write. So control, which
signs the published files, can publish what it likes: nobody reads it before it was admitted.
"""

import os
from hashlib import sha256
from pathlib import Path

import msgspec

from whitelist.signed import Current, SnapshotError

NAME = "admitted"
_WAIT = "see what the notary says in the node's log; control publishes, and the notary admits what is lawful"


class Admitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. deltas: SHA-256 of the files of the revisions after the base's."""

    current: Current
    deltas: dict[int, bytes]


class Admission:
    """The file at a path. owner: the uid that it and its directory must have, None for any."""

    def __init__(self, path: Path, owner: int | None) -> None:
        self._path = path
        self._owner = owner
        self._last: Admitted | None = None

    def current(self) -> Current:
        """The policy that was admitted last. Raises SnapshotError."""
        path = self._path
        try:
            data, owners = _read(path)
        except OSError as error:
            raise SnapshotError(f"cannot be read: {error.strerror or error}", path, _WAIT) from error
        if self._owner is not None and owners != {self._owner}:
            raise SnapshotError(
                "is not the notary's own", path, "somebody put it there: look who, then restart the node"
            )
        try:
            self._last = msgspec.msgpack.decode(data, type=Admitted)
        except (msgspec.DecodeError, ValueError) as error:
            raise SnapshotError(f"is damaged: {error}", path, _WAIT) from error
        return self._last.current

    def knows(self, revision: int) -> bool:
        """Whether the delta to a revision was admitted by itself."""
        return self._last is not None and revision in self._last.deltas

    def check(self, revision: int, data: bytes, path: Path) -> None:
        """Raises SnapshotError for the file of a delta that is not the one that was admitted."""
        admitted = self._last
        if admitted is None or admitted.deltas.get(revision) != sha256(data).digest():
            raise SnapshotError("is not the one that the notary admitted", path, _WAIT)


def _read(path: Path) -> tuple[bytes, set[int]]:
    """The file, and whose it and its directory are. By descriptors: control may rename the directory at any moment, and
    what was looked at must be what is read. Raises OSError."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fd = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(fd, "rb") as file:
            return file.read(), {os.fstat(directory).st_uid, os.fstat(fd).st_uid}
    finally:
        os.close(directory)
