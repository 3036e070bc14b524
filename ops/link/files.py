"""What the link keeps on a machine, in a directory of its user's own, each file replaced whole or not at all.

link.json     the gateways, the pinned fingerprint, where to listen
root.pem      the zone's root, whose SHA-256 is the pinned one
identity.pem  key and certificate in one file, so that a renewal replaces both at once (0600)
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.link.error import LinkError
from ops.link.words import t

PORTAL, LISTEN = "feiyu.zone", "127.0.0.1:3128"


@dataclass(frozen=True)
class Settings:
    """gateways: "host:port", in the order they are tried; ca: SHA-256 of the root, hex; portal: the name the firm's own
    page has; listen: "address:port"; local_token: what programs of this machine must show, "" for nothing."""

    gateways: tuple[str, ...]
    ca: str
    portal: str = PORTAL
    listen: str = LISTEN
    local_token: str = ""


class Files:
    """The directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root, self.identity = directory / "root.pem", directory / "identity.pem"
        self._settings = directory / "link.json"

    def settings(self) -> Settings:
        """What enrolment left. Raises LinkError."""
        try:
            found = json.loads(self._settings.read_text("utf-8"))
            return Settings(**{**found, "gateways": tuple(found["gateways"])})
        except FileNotFoundError:
            raise LinkError(
                t("this machine is not enrolled: there is no {path}", path=self._settings),
                t("Run the enrol command that the zone's operator sent."),
            ) from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LinkError(
                t("{path} cannot be read: {why}", path=self._settings, why=error), t("Enrol this machine again.")
            ) from None

    def keep_settings(self, settings: Settings) -> None:
        """Raises LinkError."""
        self.write(self._settings, json.dumps(asdict(settings), indent=2).encode())

    def write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, for this user only. Raises LinkError."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            # Windows knows no such mode: there the directory, in the user's own profile, keeps others out.
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _replace(fresh, path)
        except OSError as error:
            raise LinkError(
                t("{path} cannot be written: {why}", path=path, why=error.strerror or error),
                t("Make room, or choose another directory with --dir."),
            ) from None


def _replace(fresh: Path, path: Path) -> None:
    """Windows refuses while a reader has the old file open, which takes a moment."""
    for _ in range(20 if os.name == "nt" else 1):
        try:
            fresh.replace(path)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(0.1)
    fresh.replace(path)


def default_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where such files belong on this system, or FEIYU_LINK_DIR."""
    if environ.get("FEIYU_LINK_DIR"):
        return Path(environ["FEIYU_LINK_DIR"])
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "feiyu-link"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "feiyu-link"
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "feiyu-link"
