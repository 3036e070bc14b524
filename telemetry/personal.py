"""Personal fields of records: readable while there is reason to, and gone for good once their key is destroyed.

A record that goes into the log has, in place of the fields in TOKENS, pseudonyms that are the same for one person in
one period (keyed BLAKE2b), and nothing in place of those in BLANKED; what they were is in `sealed`, encrypted under the
period's key (AES-256-GCM, a random nonce, bound to the record's own place by its boot, worker and number). The log and
its evidence hold the same bytes, so no proof suffers when a key goes: `sealed` then says nothing to anybody.

    DIRECTORY/YYYY-MM.key     32 random bytes for the records taken in that month (UTC), 0600
"""

import os
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telemetry.record import Record, decode, encode
from telemetry.segments import sync_directory
from telemetry.spooldir import MAX_LINE
from telemetry.whole import write_whole

PERSONAL = "personal"  # the keys' directory, below state_dir
TOKENS, BLANKED = ("client_ip", "user"), ("client_port", "user_agent", "path")
FIELDS = (*TOKENS, *BLANKED)
MARK = "~"  # before a pseudonym: no address begins with it
KEY, NONCE = 32, 12  # bytes
_CACHED = 1 << 16  # pseudonyms in memory

_encoder = msgspec.json.Encoder()
_plain = msgspec.json.Decoder(list[str | int])


class Sealer:
    """Of one recorder. Its thread seals; others may open. active: whether new records are sealed, else only old ones
    are opened. Raises OSError where a key cannot be made or read."""

    def __init__(self, directory: Path, active: bool = True) -> None:
        self.directory, self.active = directory, active
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._period = ""  # of the key in use
        self._key = b""
        self._cipher: AESGCM | None = None
        self._tokens: dict[str, str] = {}
        self._until = 0  # Unix µs, when the period ends

    def seal(self, data: bytes, records: Sequence[Record], lengths: list[int], now: int) -> tuple[bytes, list[int]]:
        """The lines to store for these lines of the log, and their lengths; now: Unix µs. What fits no entry of the
        evidence any more when sealed loses its longest texts."""
        if not self.active:
            return data, lengths
        lines: list[bytes] = []
        at, changed = 0, False
        for record, length in zip(records, lengths, strict=True):
            line = data[at : at + length]
            at += length
            if record.client_ip or record.user or record.user_agent or record.path or record.client_port:
                line = self._sealed(record, now) + b"\n"
                changed = True
            lines.append(line)
        return (b"".join(lines), [len(line) for line in lines]) if changed else (data, lengths)

    def open(self, record: Record) -> Record:
        """The record as it was, or as it is where it is not sealed, or its key is gone."""
        period, _, text = record.sealed.partition(".")
        key = self._read(period) if text else None
        if key is None:
            return record
        try:
            raw = b64decode(text, validate=True)
            values = _plain.decode(AESGCM(key).decrypt(raw[:NONCE], raw[NONCE:], _place(record)))
            fields = dict(zip(FIELDS, values, strict=True))
        except (ValueError, InvalidTag, msgspec.DecodeError):
            return record
        return msgspec.structs.replace(record, sealed="", **fields)

    def open_line(self, line: bytes) -> bytes:
        """A line of the log as it was before it was sealed, where that can be."""
        return encode(self.open(decode(line))) if b'"sealed":"' in line else line

    def pseudonyms(self, value: str) -> frozenset[str]:
        """What stands for a value in records of every period whose key is there."""
        found = (self._read(period) for period in self.periods())
        return frozenset(_token(key, value) for key in found if key)

    def periods(self) -> list[str]:
        """Those whose keys are there, the oldest first."""
        return sorted(path.stem for path in self.directory.glob("*.key"))

    def destroy(self, period: str) -> None:
        """Overwrites and removes a period's key. (A copy on a backup or in a disk's spare blocks is not reached.)"""
        path = self.directory / f"{period}.key"
        with path.open("r+b") as file:
            file.write(os.urandom(KEY))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_directory(self.directory)

    def _sealed(self, record: Record, now: int) -> bytes:
        if now >= self._until:
            self._turn(now)
        assert self._cipher is not None
        values = _encoder.encode([getattr(record, name) for name in FIELDS])
        nonce = os.urandom(NONCE)
        sealed = f"{self._period}.{b64encode(nonce + self._cipher.encrypt(nonce, values, _place(record))).decode()}"
        line = encode(self._without(record, sealed))
        if len(line) <= MAX_LINE:
            return line
        texts = {name: getattr(record, name) for name in record.__struct_fields__}
        short = {name: text[:200] for name, text in texts.items() if isinstance(text, str)}
        return self._sealed(msgspec.structs.replace(record, **short), now)

    def _without(self, record: Record, sealed: str) -> Record:
        return msgspec.structs.replace(
            record,
            sealed=sealed,
            client_ip=self._pseudonym(record.client_ip),
            user=self._pseudonym(record.user),
            client_port=0,
            user_agent="",
            path="",
        )

    def _pseudonym(self, value: str) -> str:
        if not value:
            return ""
        found = self._tokens.get(value)
        if found is None:
            if len(self._tokens) >= _CACHED:
                self._tokens.clear()
            found = self._tokens[value] = _token(self._key, value)
        return found

    def _turn(self, now: int) -> None:
        """Takes the key of the month that `now` is in, or makes it."""
        moment = time.gmtime(now // 1_000_000)
        period = time.strftime("%Y-%m", moment)
        key = self._read(period)
        if key is None:
            key = os.urandom(KEY)
            write_whole(self.directory / f"{period}.key", key, 0o600)
            sync_directory(self.directory)  # durable before anything is sealed with it
        self._period, self._key, self._cipher = period, key, AESGCM(key)
        self._tokens.clear()
        self._until = (now // 86_400_000_000 + 1) * 86_400_000_000  # looked at once a day

    def _read(self, period: str) -> bytes | None:
        if len(period) != 7 or not period.replace("-", "").isdecimal():
            return None
        try:
            key = (self.directory / f"{period}.key").read_bytes()
        except FileNotFoundError:
            return None
        return key if len(key) == KEY else None


def _place(record: Record) -> bytes:
    return f"{record.boot} {record.worker} {record.seq}".encode()


def _token(key: bytes, value: str) -> str:
    return MARK + blake2b(value.encode(), digest_size=12, key=key).hexdigest()
