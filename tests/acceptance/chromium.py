"""Chromium without a window, driven through its debugging pipe as a person would at its keyboard.

https://chromedevtools.github.io/devtools-protocol: JSON objects, each ended by a zero byte; in on 3, out on 4.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.demo.network import Zone, end

PATIENCE = 60.0  # seconds, on a busy machine
FLAGS = ("--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US")
SETTLED = "document.readyState === 'complete' && document.URL !== 'about:blank'"


@dataclass(slots=True)
class Page:
    """What a person sees of a page. error: Chromium's own, of a page that did not come; asked: how often it asked for
    a password; picture: a PNG."""

    error: str = ""
    status: int = 0
    title: str = ""
    text: str = ""
    asked: int = 0
    picture: bytes = field(default=b"", repr=False)


class Browser:
    """One running Chromium with one tab."""

    def __init__(self, process: subprocess.Popen[bytes], say: int, hear: int) -> None:
        self._process, self._say, self._hear = process, say, hear
        self._left, self._number, self._session = b"", 0, ""
        self._page, self._login = Page(), ("", "")
        tab = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Network.enable")
        self._call("Fetch.enable", handleAuthRequests=True)

    def visit(self, url: str, login: tuple[str, str]) -> Page:
        """Types an address, and name and password once when asked for them; after that a person gives up."""
        self._page, self._login = Page(), login
        page = self._page
        page.error = self._call("Page.navigate", url=url).get("errorText", "")
        until = time.monotonic() + PATIENCE
        while not self._evaluate(SETTLED):
            assert time.monotonic() < until, f"{url} does not settle"
            time.sleep(0.05)
        page.title, page.text = self._evaluate("document.title"), self._evaluate("document.body.innerText")
        page.picture = base64.b64decode(self._call("Page.captureScreenshot")["data"])
        return page

    def _evaluate(self, expression: str) -> Any:
        return self._call("Runtime.evaluate", expression=expression)["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Asks, and sees to what happens until the answer is there; {} where the page changed meanwhile."""
        number = self._tell(method, **parameters)
        while (said := self._next()).get("id") != number:
            if "method" in said:
                self._happened(said["method"], said["params"])
        return dict(said.get("result") or {"result": {}})

    def _happened(self, event: str, facts: dict[str, Any]) -> None:
        if event == "Fetch.requestPaused":
            self._tell("Fetch.continueRequest", requestId=facts["requestId"])
        elif event == "Fetch.authRequired":
            self._page.asked += 1
            answer = {"response": "ProvideCredentials", "username": self._login[0], "password": self._login[1]}
            if self._page.asked > 1 or not self._login[0]:
                answer = {"response": "CancelAuth"}
            self._tell("Fetch.continueWithAuth", requestId=facts["requestId"], authChallengeResponse=answer)
        elif event == "Network.responseReceived" and facts["type"] == "Document":
            self._page.status = facts["response"]["status"]

    def _tell(self, method: str, **parameters: Any) -> int:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._say, json.dumps(asked).encode() + b"\0")
        return self._number

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._hear], [], [], PATIENCE)
            assert ready, "Chromium says nothing"
            data = os.read(self._hear, 65_536)
            assert data, f"Chromium ended with {self._process.wait()}"
            self._left += data
        said, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(said))


@contextlib.contextmanager
def chromium(zone: Zone, ns: str, home: Path, log: Path, more: Sequence[str]) -> Iterator[Browser]:
    """Starts it in a namespace with a profile of its own. home: holds .pki/nssdb with what it trusts; log: for what it
    says."""
    from_us, say = _pipe()
    hear, to_us = _pipe()
    # Popen passes descriptors on under their own numbers only.
    moved = ["sh", "-c", f'exec 3</proc/self/fd/{from_us} 4>/proc/self/fd/{to_us}; exec "$@"', "sh"]
    argv = ["chromium", *FLAGS, f"--user-data-dir={home}/profile", "--remote-debugging-pipe", *more]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    try:
        with log.open("wb") as said:
            process = zone.spawn(
                ns, [*moved, *argv], env=environment, pass_fds=(from_us, to_us), stdout=said, stderr=said
            )
        os.close(from_us)
        os.close(to_us)
        try:
            yield Browser(process, say, hear)
        finally:
            end(process)
    finally:
        os.close(say)
        os.close(hear)


def _pipe() -> tuple[int, int]:
    """Both ends above the numbers that mean something to Chromium."""
    ends = os.pipe()
    try:
        reads, writes = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in ends)
    finally:
        for descriptor in ends:
            os.close(descriptor)
    return reads, writes


def trust(home: Path, **authorities: Path) -> None:
    """Puts CAs, by name, among those that Chromium trusts on Linux: the user's NSS database."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    added = [("-A", "-t", "C,,", "-n", name, "-i", str(file)) for name, file in authorities.items()]
    for words in (("-N", "--empty-password"), *added):
        subprocess.run(["certutil", "-d", f"sql:{store}", *words], check=True, capture_output=True)
