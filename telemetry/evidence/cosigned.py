"""What the cosigner process left, taken into the published checkpoint: believed only as far as signatures go."""

from pathlib import Path

from telemetry.evidence import checkpoint, note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.evidence.log import EvidenceLog

COSIGNED = "witnessed"  # below state_dir: one file for each log, by its name


class Cosigned:
    """path: the file that the cosigner leaves; keys: of the witnesses that are asked. size: of the newest checkpoint
    published with cosignatures; wrong: why the last file was of no use."""

    def __init__(self, path: Path, keys: tuple[note.VerifierKey, ...]) -> None:
        self.path, self.keys = path, keys
        self.size = 0
        self.wrong = ""
        self._seen = (0, 0)  # inode, time of the last change in ns

    def publish(self, log: EvidenceLog) -> None:
        """Publishes what is new. Raises OSError where the log cannot be written; a file that is no good is passed
        over."""
        try:
            status = self.path.stat()
        except OSError:
            return
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            data = read_or_none(self.path, note.MAX_BYTES) or b""
            head = checkpoint.open_signed(data, log.key, (*log.keys[1:], *self.keys))
            found = note.parse(data)
            witnesses = {(key.name, key.key_id) for key in self.keys}
            known = witnesses | {(key.name, key.key_id) for key in log.keys}
            own = tuple(line for line in found.signatures if (line.name, line.key_id) in known)
        except EvidenceError as error:
            self.wrong = str(error)
            return
        self.wrong = ""
        signed = any((line.name, line.key_id) in witnesses for line in own)
        if self.size <= head.size <= log.size and signed:
            log.cosign(note.Note(found.text, own))
            self.size = head.size
