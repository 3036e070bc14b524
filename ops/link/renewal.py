"""A certificate is renewed at two thirds of its life, or a little earlier, so that not all machines come at once."""

import asyncio
import random
import time
from collections.abc import Callable

from ops.link import ask
from ops.link.error import LinkError
from ops.link.files import Files, Settings
from ops.link.identity import read
from ops.link.words import t

NAP = 300.0  # seconds asleep at most: a machine that was suspended must not miss its time
SOON, LATE = 60.0, 3_600.0  # seconds between tries


def retry_after(failures: int, left: float) -> float:
    """Seconds until the next try: a minute, doubled up to an hour, and never more than a tenth of what is left."""
    return max(1.0, min(LATE, SOON * 2.0 ** min(failures - 1, 10), max(left, 0.0) / 10 or LATE))


def renew(files: Files, settings: Settings) -> None:
    """A new key and certificate in the place of the present ones. Raises LinkError, and then nothing has changed."""
    made = ask.of_any(settings.gateways, lambda gateway: ask.certificate(files, settings, gateway))
    files.write(files.identity, made)


async def renew_for_ever(files: Files, settings: Settings, say: Callable[[str], None]) -> None:
    """Until cancelled. What goes wrong is said and tried again: the link serves on with what it has."""
    failures, not_before, early = 0, 0.0, random.random()  # noqa: S311 - spreads renewals, hides nothing
    while True:
        try:
            present = read(files.identity)
            due = max(present.renews_at(early), not_before)
            if (wait := due - time.time()) > 0:
                await asyncio.sleep(min(wait, NAP))
                continue
            await asyncio.to_thread(renew, files, settings)
            failures, not_before, early = 0, 0.0, random.random()  # noqa: S311 - as above
            say(t("certificate renewed: {credential}", credential=read(files.identity).credential))
        except LinkError as error:
            failures += 1
            say(t("the certificate is not renewed yet: {why}", why=error.what))
            not_before = time.time() + retry_after(failures, _left(files))
            await asyncio.sleep(1.0)


def _left(files: Files) -> float:
    try:
        return read(files.identity).ends - time.time()
    except LinkError:
        return 0.0
