"""The witness's side of C2SP tlog-witness: POST add-checkpoint, answered by a cosignature or by why not.

400  not a request, or the old size is larger than the checkpoint's      403  signed by no key known for the log
404  a log that is not witnessed here                                    409  the old size is not the one kept (its
422  the proof does not show that the log continues what it showed              size is the answer), or a fork
500  this witness cannot keep what it would sign                         200  signature lines
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web

from telemetry.evidence import checkpoint, note, signing
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.witness import protocol
from telemetry.witness.memory import ConflictError, DamagedError, ForkError, Memory, open_by_any

log = logging.getLogger("feiyu.witness")


@dataclass(frozen=True, slots=True)
class Identity:
    """name: the witness's, as in its verifier keys; keys: it signs with each of them."""

    name: str
    keys: tuple[signing.PrivateKey, ...]

    @property
    def verifier_keys(self) -> tuple[note.VerifierKey, ...]:
        """What verifiers are given."""
        return tuple(note.VerifierKey(self.name, key.type, key.public) for key in self.keys)


class Witness:
    """logs: the keys of the logs that it knows; the name of a key is the log's origin, and a log may have several.
    before: called with each request that is accepted and new, before anything is kept or signed (for a parent log);
    raises OSError. now: Unix seconds."""

    def __init__(
        self,
        identity: Identity,
        logs: Sequence[note.VerifierKey],
        memory: Memory,
        before: Callable[[protocol.Request], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._identity, self._memory, self._now = identity, memory, now
        self.before = before
        self._logs: dict[str, tuple[note.VerifierKey, ...]] = {}
        for key in logs:
            self._logs[key.name] = (*self._logs.get(key.name, ()), key)
        self._one = ThreadPoolExecutor(1, "witness")  # requests are checked and kept one after the other

    def app(self) -> web.Application:
        """The service."""
        app = web.Application(client_max_size=protocol.MAX_REQUEST)
        app.add_routes([web.post(protocol.PATH, self._add)])
        return app

    async def _add(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            asked = protocol.parse(body)
            text = note.parse(asked.signed).text
            origin = checkpoint.parse(text).origin
        except EvidenceError as error:
            return _answer(400, f"{error}\n")
        keys = self._logs.get(origin)
        if keys is None:
            return _answer(404, f"the log {origin!r} is not witnessed here\n")
        try:
            new = open_by_any(asked.signed, keys)
        except EvidenceError as error:
            return _answer(403, f"{error}\n")
        if asked.old > new.size:
            return _answer(400, f"the old size {asked.old} is larger than the checkpoint's, {new.size}\n")
        return await asyncio.get_running_loop().run_in_executor(self._one, self._take, asked, new, keys, text)

    def _take(
        self, asked: protocol.Request, new: Checkpoint, keys: tuple[note.VerifierKey, ...], text: str
    ) -> web.Response:
        try:
            self._memory.take(asked, new, keys, self.before)
            stamp, name = int(self._now()), self._identity.name
            lines = [note.sign(text, name, key, stamp) for key in self._identity.keys]
        except ConflictError as conflict:
            return web.Response(status=409, body=b"%d\n" % conflict.size, headers={"Content-Type": protocol.SIZE_TYPE})
        except ForkError as error:
            log.critical("FORK of %s: %s; the checkpoint is kept under caught/", new.origin, error)
            return _answer(409, f"{error}\n")
        except EvidenceError as error:
            log.error("not cosigned: %s of size %d: %s", new.origin, new.size, error)
            return _answer(422, f"{error}\n")
        except (OSError, DamagedError) as error:
            log.critical("nothing can be kept, so nothing is signed: %s", error)
            return _answer(500, "this witness cannot keep what it would sign\n")
        return _answer(200, protocol.render_lines(lines).decode())


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
