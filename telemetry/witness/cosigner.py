"""The cosigner process: asks the configured witnesses under each new checkpoint, and leaves what they signed.

    python -m telemetry.witness.cosigner --log flows=DIRECTORY … --out DIRECTORY --witness URL=VKEY … --quorum M

It is a process of its own with a user of its own: it talks to machines elsewhere, and can neither write the log nor
read a key. However slow or hostile a witness is, the recorder does not wait: it takes what it finds in OUT/<log>,
verifies it, and publishes it. Rounds: all witnesses are asked for the same checkpoint, the newest; a round ends when
all have answered, or a quorum has and the others had half a second more. One that is still busy is passed over then.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from telemetry.evidence import checkpoint, note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.evidence.reader import CHECKPOINT, Reader
from telemetry.whole import write_whole
from telemetry.witness.client import TIMEOUT, Peer, RefusedError, ask

LOOK = 0.1  # seconds between looks for a new checkpoint
GRACE = 0.5  # seconds that those who are slower than the quorum are waited for
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0  # seconds before a witness that failed is asked again; doubled each time
REFUSED = 30.0  # the same for one that says the log is not what it was

log = logging.getLogger("feiyu.cosigner")


class Cosigner:
    """Of one log. out: the file to leave; quorum: how many witnesses make a checkpoint a witnessed one."""

    def __init__(self, reader: Reader, key: note.VerifierKey, peers: Sequence[Peer], quorum: int, out: Path) -> None:
        self._reader, self._key, self._peers, self._quorum, self._out = reader, key, peers, quorum, out
        self._text = ""  # of the round's checkpoint
        self._found: dict[tuple[str, bytes], note.Signature] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, tuple[float, float]] = {}  # by witness: not before this time, and the pause then
        self._complete = self._left_before() >= quorum  # what was left last had the quorum

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Round by round, until cancelled."""
        while True:
            try:
                await self._round(session)
            except (OSError, EvidenceError) as error:
                log.error("%s: %s", self._key.name, error)
                await asyncio.sleep(FIRST_PAUSE)
            await asyncio.sleep(LOOK)

    async def _round(self, session: aiohttp.ClientSession) -> None:
        signed = await asyncio.to_thread(self._reader.checkpoint)
        head = checkpoint.open_signed(signed, self._key)
        text = note.parse(signed).text
        if text != self._text:
            self._text, self._found = text, {}
        missing = [peer for peer in self._peers if self._wanted(peer)]
        for peer in missing:
            self._busy[peer.name] = asyncio.create_task(self._ask(session, peer, signed, head))
        tasks = [self._busy[peer.name] for peer in missing]
        while tasks:
            timeout = GRACE if self._signers() >= self._quorum else None
            done, rest = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            tasks = list(rest)

    def _wanted(self, peer: Peer) -> bool:
        signed = any(name == peer.name for name, _ in self._found)
        due = self._again.get(peer.name, (0.0, 0.0))[0] <= time.monotonic()
        return due and not signed and peer.name not in self._busy

    async def _ask(
        self, session: aiohttp.ClientSession, peer: Peer, signed: bytes, head: checkpoint.Checkpoint
    ) -> None:
        try:
            lines = await ask(session, peer, self._reader, signed, head)
        except RefusedError as refused:
            log.critical("%s", refused)
            self._again[peer.name] = (time.monotonic() + REFUSED, FIRST_PAUSE)
        except (aiohttp.ClientError, TimeoutError, EvidenceError, OSError) as error:
            pause = min(LAST_PAUSE, 2 * self._again.get(peer.name, (0.0, FIRST_PAUSE / 2))[1])
            log.error("%s is asked again in %g s: %s", peer.name, pause, error or type(error).__name__)
            self._again[peer.name] = (time.monotonic() + pause, pause)
        else:
            self._again.pop(peer.name, None)
            if self._text == note.parse(signed).text:
                self._found |= {(line.name, line.key_id): line for line in lines}
                await asyncio.to_thread(self._leave, signed)
        finally:
            del self._busy[peer.name]

    def _signers(self) -> int:
        return len({name for name, _ in self._found})

    def _left_before(self) -> int:
        """How many witnesses signed what an earlier run left; 0 where that cannot be read."""
        try:
            return len({line.name for line in note.parse(self._out.read_bytes()).signatures} - {self._key.name})
        except (OSError, EvidenceError):
            return 0

    def _leave(self, signed: bytes) -> None:
        """A checkpoint with fewer than the quorum does not replace one that has it."""
        complete = self._signers() >= self._quorum
        if self._complete and not complete:
            return
        own = note.parse(signed)
        ours = tuple(line for line in own.signatures if line.name == self._key.name)
        write_whole(self._out, note.render(note.Note(own.text, ours + tuple(self._found.values()))), 0o640)
        self._complete = complete


def peers_of(witnesses: Sequence[str]) -> list[Peer]:
    """From URL=VKEY; several keys of one name are of one witness. Raises EvidenceError."""
    found: dict[str, Peer] = {}
    for text in witnesses:
        url, _, vkey = text.partition("=")
        key = note.parse_key(vkey)
        peer = found.setdefault(key.name, Peer(url, (), {}))
        peer.keys = (*peer.keys, key)
    return list(found.values())


async def _serve(arguments: argparse.Namespace) -> None:
    peers = peers_of(arguments.witness)
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_follow(session, text, peers, arguments)) for text in arguments.log]
        await ending.wait()
        for task in tasks:
            task.cancel()


async def _follow(session: aiohttp.ClientSession, text: str, peers: list[Peer], arguments: argparse.Namespace) -> None:
    """One log, from the moment that it is there."""
    name, _, directory = text.partition("=")
    key = None
    while key is None:
        await asyncio.sleep(LOOK)
        key = await asyncio.to_thread(_key_of, directory)
    await Cosigner(Reader(Path(directory)), key, peers, arguments.quorum, arguments.out / name).run(session)


def _key_of(directory: str) -> note.VerifierKey | None:
    """The verifier key of a log that has begun."""
    data = read_or_none(Path(f"{directory}.vkey"))
    if data is None or not Path(directory, CHECKPOINT).exists():
        return None
    return note.parse_key(data.decode("ascii", "replace").strip())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="telemetry.witness.cosigner", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--log", action="append", required=True, help="NAME=DIRECTORY; its key is DIRECTORY.vkey")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--witness", action="append", required=True, help="URL=VKEY")
    parser.add_argument("--quorum", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    asyncio.run(_serve(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
