"""A log's side of C2SP tlog-witness: one witness is asked for its cosignature under one checkpoint."""

from dataclasses import dataclass

import aiohttp

from telemetry.evidence import merkle, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import TileTree
from telemetry.witness import protocol

TIMEOUT = aiohttp.ClientTimeout(total=10)
_MOST_ANSWER = 256 << 10  # bytes


class RefusedError(Exception):
    """The witness says no, and asking again will not change that. str() says what it is that it holds against the
    log."""


@dataclass(slots=True)
class Peer:
    """A witness and what is known of it. url: its submission prefix; keys: its verifier keys, all of one name; sizes:
    of each log the size it cosigned last, as far as known."""

    url: str
    keys: tuple[note.VerifierKey, ...]
    sizes: dict[str, int]

    @property
    def name(self) -> str:
        """As in its keys."""
        return self.keys[0].name


async def ask(
    session: aiohttp.ClientSession, peer: Peer, reader: Reader, signed: bytes, head: Checkpoint
) -> list[note.Signature]:
    """Its cosignatures under a checkpoint (`head`, opened from `signed`) of the log that reader reads. Raises
    RefusedError, EvidenceError for an answer that is none, aiohttp.ClientError, TimeoutError."""
    for _ in range(2):  # a witness that was asked for the first time says which size it has
        size = peer.sizes.get(head.origin, 0)
        if size > head.size:
            raise RefusedError(
                f"{peer.name} cosigned size {size} of {head.origin}, which is at {head.size}: it was rolled back"
            )
        body = protocol.render(protocol.Request(size, _proof(reader, size, head), signed))
        async with session.post(peer.url.rstrip("/") + protocol.PATH, data=body) as response:
            answer = await response.content.read(_MOST_ANSWER)
            status, kind = response.status, response.content_type
        if status == 200:
            found = protocol.cosignatures(note.parse(signed).text, answer, peer.keys)
            peer.sizes[head.origin] = head.size
            return found
        if status == 409 and kind == protocol.SIZE_TYPE:
            peer.sizes[head.origin] = protocol.parse_size(answer)
            continue
        words = answer[:300].decode("utf-8", "replace").strip()
        if status in (409, 422):
            raise RefusedError(f"{peer.name} does not find that {head.origin} continues what it cosigned: {words}")
        raise EvidenceError(f"{peer.name} answers {status}: {words}")
    raise EvidenceError(f"{peer.name} names another size of {head.origin} each time; does somebody else ask it, too?")


def _proof(reader: Reader, size: int, head: Checkpoint) -> tuple[bytes, ...]:
    if size in (0, head.size):
        return ()
    tree = TileTree(head.size, reader.tile)
    if tree.root() != head.root:
        raise EvidenceError(f"the tiles of {head.origin} do not have the root of its checkpoint of size {head.size}")
    return tuple(merkle.prove_consistency(size, head.size, tree.node))
