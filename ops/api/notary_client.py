"""Control's side of the notary: what it published is in force only once it was admitted there."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

TIMEOUT = 60.0  # seconds: a whole policy may have to be read and compared
_FIRST, _LATER = 150, 10  # tries, a tenth of a second apart: both processes start at once, and the notary again


class NotAdmitted(Exception):  # noqa: N818 - named for what happened
    """The notary did not admit what was published, or cannot be asked; str() says why."""


class NotaryClient:
    """The notary at a socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tries = _FIRST

    async def ask(self, question: str) -> int:
        """The revision that is the answer. Raises NotAdmitted."""
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await self._connect()
                try:
                    writer.write(msgspec.json.encode({"ask": question}) + b"\n")
                    answer = msgspec.json.decode(await reader.readline(), type=dict[str, Any])
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            raise NotAdmitted(f"the notary at {self._path} does not answer: {error or 'too late'}") from error
        if "error" in answer:
            raise NotAdmitted(f"the notary refuses it: {answer['error']}")
        return int(answer["revision"])

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in range(self._tries):
            try:
                met = await asyncio.open_unix_connection(self._path)
                self._tries = _LATER
                return met
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.1)
        return await asyncio.open_unix_connection(self._path)
