"""The node's directories and who may do what there.

run_dir    supervisor:group 1770   every process makes its socket here, none can replace another's (sticky)
run_dir/spool  recorder:group 3770 writers add files of their own, the recorder (as owner) removes what it took
state_dir  control:group    0750   the register
  keys     control:group    0750   the private key itself is 0600
  snapshot control:group    0750   workers read
  log      recorder:group   0750
  evidence recorder:group   0750     the private key itself is 0600
  lines    lines:group      0750     the nft table for the next boot
  usage    worker:group     0750     bytes per tenant, day and month
"""

import os
import stat
from pathlib import Path

from ops import privileges
from ops.settings import Settings


class DirectoryError(Exception):
    """A directory cannot be made or given to its owner; str() says which and why."""


def prepare(settings: Settings) -> None:
    """Makes what is missing and sets owner and mode of all; files in them go to the directory's owner. Raises
    DirectoryError. Where users cannot be changed, only the modes are set."""
    users = settings.users
    keep = users.control is None or not privileges.usable(users.control)
    control, recorder, lines = (-1, -1, -1) if keep else (users.control, users.recorder, users.lines)
    worker = -1 if keep else users.worker
    group = -1 if keep else users.group
    state, run = Path(settings.state_dir), Path(settings.run_dir)
    table = (
        (run, -1, 0o1770, False),
        (run / "spool", recorder, 0o3770, False),
        (state, control, 0o750, True),
        (state / "keys", control, 0o750, True),
        (state / "snapshot", control, 0o750, True),
        (state / "log", recorder, 0o750, True),
        (state / "evidence", recorder, 0o750, True),
        (state / "lines", lines, 0o750, True),
        (state / "usage", worker, 0o750, True),
    )
    for path, owner, mode, contents in table:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise DirectoryError(f"{path} is not a directory")
            if not keep:
                os.chown(path, -1 if owner is None else owner, -1 if group is None else group, follow_symlinks=False)
                if contents and owner is not None:
                    _give(path, owner, -1 if group is None else group)
            path.chmod(mode)
        except OSError as error:
            raise DirectoryError(
                f"{error.filename or path}: {error.strerror}; it must be usable by this user"
            ) from None
    # tunnels of an earlier boot are over: its shared counters must not count against anybody
    for name in ("counters", "attempts"):
        (run / name).unlink(missing_ok=True)


def _give(directory: Path, owner: int, group: int) -> None:
    """Plain files that an administrator made here become the owner's; links are left alone: they may point anywhere."""
    for entry in os.scandir(directory):
        status = entry.stat(follow_symlinks=False)
        plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if plain and status.st_uid == os.geteuid() != owner and not entry.name.startswith("live.json"):
            os.chown(entry.path, owner, group, follow_symlinks=False)
