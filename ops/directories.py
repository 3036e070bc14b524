"""The node's directories and who may do what there.

run_dir    supervisor:group 1770   every process makes its socket here, none can replace another's (sticky)
run_dir/spool  recorder:group 3770 writers add files of their own, the recorder (as owner) removes what it took
state_dir  control:group    0750   the register
  keys     control:group    0750   the private key itself is 0600
  ca       control:group    0750   workers read the listeners' key; the issuing CA's is 0600
  snapshot control:group    0750   workers read
  log      recorder:group   0750
  evidence recorder:group   0750     the private key itself is 0600
  acts     control:group    0750   evidence of administrative acts; the private key itself is 0600
  witnessed  cosigner:group 0750   what witnesses signed; the recorder reads
  personal recorder:group   0750     keys of personal fields in records, themselves 0600
  rules    recorder:group   0750     the last good detection rules
  streams  streams:group    0750     how far each sink is, and dead letters
  lines    lines:group      0750     the nft table for the next boot
  notary   notary:group     0750     what is lawful, and which published policy is admitted: workers read
  usage    worker:group     0750     bytes per tenant, day and month
  inspection inspector:group 0750    firms' intermediates, 0600; bytes of inspected grants
"""

import contextlib
import os
import stat
from pathlib import Path

from ops import privileges
from ops.settings import Settings
from telemetry.evidence.cosigned import COSIGNED
from telemetry.personal import PERSONAL


class DirectoryError(Exception):
    """A directory cannot be made or given to its owner; str() says which and why."""


def prepare(settings: Settings) -> None:
    """Makes what is missing and sets owner and mode of all; files in them go to the directory's owner, also from those
    that it had under other settings. Raises DirectoryError. Where users cannot be changed, only the modes are set."""
    users = settings.users
    owners: tuple[int | None, ...] = (
        users.control,
        users.recorder,
        users.lines,
        users.worker,
        users.inspector,
        users.cosigner,
        users.notary,
        users.streams,
        users.group,
    )
    if users.control is None or not privileges.usable(users.control):
        # Root's children have no capability to pass over owners: what others had must become root's again.
        owners = (0 if os.geteuid() == 0 else None,) * len(owners)
    control, recorder, lines, worker, inspector, cosigner, notary, streams, group = owners
    state, run = Path(settings.state_dir), Path(settings.run_dir)
    table = (
        (run, None, 0o1770, False),
        (run / "spool", recorder, 0o3770, True),
        (state, control, 0o750, True),
        (state / "keys", control, 0o750, True),
        (state / "ca", control, 0o750, True),
        (state / "snapshot", control, 0o750, True),
        (state / "log", recorder, 0o750, True),
        (state / "evidence", recorder, 0o750, True),
        (state / "acts", control, 0o750, True),
        (state / COSIGNED, cosigner, 0o750, True),
        (state / PERSONAL, recorder, 0o750, True),
        (state / "rules", recorder, 0o750, False),
        (state / "streams", streams, 0o750, True),
        (state / "lines", lines, 0o750, True),
        (state / "usage", worker, 0o750, True),
        (state / "inspection", inspector, 0o750, True),
        *([(state / "notary", notary, 0o750, True)] if settings.zone else []),
    )
    for path, owner, mode, contents in table:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise DirectoryError(f"{path} is not a directory")
            if group is not None:
                _own(path, path.lstat(), owner, group)
                if contents and owner is not None:
                    _give(path, owner, group, spare=worker if path.name == "spool" else None)
            path.chmod(mode)
        except OSError as error:
            raise DirectoryError(
                f"{error.filename or path}: {error.strerror}; it must be usable by this user"
            ) from None
    # Tunnels of an earlier boot are over: its shared counters must not count against anybody, nor be somebody else's;
    # and its figures may have been laid out by another version.
    for name in ("counters", "users", "attempts", "figures"):
        (run / name).unlink(missing_ok=True)


def _own(path: Path, status: os.stat_result, owner: int | None, group: int) -> None:
    """Changes owner (None: not) and group where they differ."""
    if status.st_gid != group or status.st_uid != (status.st_uid if owner is None else owner):
        os.chown(path, -1 if owner is None else owner, group, follow_symlinks=False)


def _give(directory: Path, owner: int, group: int, spare: int | None) -> None:
    """Plain files that an administrator, or the owner's predecessor, made here become the owner's; not those of the
    user to be spared, whose process may still be writing its last records. Links are left alone: they may point
    anywhere."""
    for entry in os.scandir(directory):
        with contextlib.suppress(FileNotFoundError):  # its process may still be tidying up, too
            status = entry.stat(follow_symlinks=False)
            plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid != spare
            if plain and not entry.name.startswith("live.json"):
                _own(Path(entry.path), status, owner, group)
