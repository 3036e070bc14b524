"""A GET with aiohttp, which looks into the environment only where trust_env says so."""

import asyncio
import sys

import aiohttp


async def main() -> None:
    """Prints the body."""
    session = aiohttp.ClientSession(trust_env=True, raise_for_status=True)
    async with session, session.get(sys.argv[1]) as answer:
        print(await answer.text())


asyncio.run(main())
