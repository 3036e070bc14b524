"""A GET with aiohttp, which looks into the environment only where trust_env says so; PROXY is one told by hand."""

import asyncio
import os
import sys

import aiohttp
from yarl import URL


async def main() -> None:
    """Prints the body."""
    session = aiohttp.ClientSession(trust_env=True, raise_for_status=True)
    by_hand = {}
    if proxy := URL(os.environ.get("PROXY", "")):  # with the token left in it, an error would show that
        login = aiohttp.BasicAuth(proxy.user or "", proxy.password or "")
        by_hand = {"proxy": proxy.with_user(None), "proxy_auth": login}
    async with session, session.get(sys.argv[1], **by_hand) as answer:
        print(await answer.text())


asyncio.run(main())
