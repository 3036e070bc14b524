"""Chromium, set up with a proxy or with a PAC file: what a person at it sees of a granted service and of a refusal."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.demo.client import ENVIRONMENT
from ops.demo.network import FIRMS, LINES, end
from ops.demo.stage import PORT
from ops.demo.world import PAPERS, VIDEO
from tests.acceptance.chromium import Browser, chromium, trust
from tests.acceptance.kit import Node, identity_of
from tests.acceptance.shop import PLAIN, TLS

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("shop")]

NEAR, FAR = FIRMS["acme"].near[4], FIRMS["acme"].far[4]
PAC_PORT = 8081
# Without a second choice: what the proxy refuses must not be tried beside it.
PAC = f'function FindProxyForURL(url, host) {{ return "PROXY {NEAR}:{PORT}"; }}\n'
UNREACHED = "This site can’t be reached"
SETUPS = {
    "with a proxy": f"--proxy-server=http://{NEAR}:{PORT}",
    "with a PAC file": f"--proxy-pac-url=http://{FAR}:{PAC_PORT}/proxy.pac",
}


@pytest.fixture(scope="module")
def pac(session_node: Node) -> Iterator[None]:
    """The firm's own web server with the PAC file."""
    folder = session_node.stage.directory / "pac"
    folder.mkdir()
    (folder / "proxy.pac").write_text(PAC)
    argv = [sys.executable, "-m", "http.server", "-b", FAR, "-d", str(folder), str(PAC_PORT)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = session_node.stage.zone.spawn(FIRMS["acme"].ns, argv, env=ENVIRONMENT, **quiet)

    def serves() -> bool:
        with session_node.stage.zone.inside(FIRMS["acme"].ns), contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((FAR, PAC_PORT), 2).close()
            return True
        return False

    try:
        session_node.stage.wait(serves, "nobody serves the PAC file", 20)
        yield
    finally:
        end(running)


@dataclass(frozen=True)
class Seat:
    """A person at Chromium. login: what they type when asked."""

    node: Node
    browser: Browser
    login: tuple[str, str] = field(repr=False)

    def recorded(self, kind: str, host: str, since: int) -> list[dict[str, Any]]:
        """What the log has since, once it has something that is no answer to a missing credential."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            records = self.node.stage.records(kind=kind, limit=20)
            new = [r for r in records if r["time"] >= since and r.get("host") == host]
            found[:] = [r for r in new if r.get("reason") != "identity-unknown"]
            return bool(found)

        self.node.stage.wait(there, f"no {kind} record of {host}", 20)
        return found


@contextlib.contextmanager
def seated(node: Node, setup: str, home: Path, login: tuple[str, str]) -> Iterator[Seat]:
    """A Chromium that trusts the CA abroad and was not asked for a password yet."""
    if lacking := [name for name in ("chromium", "certutil") if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(lacking)}; ./setup.sh clients .venv installs it")
    trust(home, node.stage.ca)
    with chromium(node.stage.zone, FIRMS["acme"].ns, home, home / "log", [setup]) as browser:
        yield Seat(node, browser, login)


@pytest.fixture(scope="module", params=SETUPS.values(), ids=SETUPS.keys())
def seat(session_node: Node, pac: None, request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Seat]:
    """One Chromium of acme's for all its questions."""
    name, _, password = identity_of(session_node.stage, "acme").partition(":")
    with seated(session_node, request.param, tmp_path_factory.mktemp("chromium"), (name, password)) as taken:
        yield taken


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("url", [f"https://{PAPERS}:{TLS}/", f"http://{PAPERS}:{PLAIN}/"], ids=["https", "http"])
def test_a_granted_service_is_there(seat: Seat, url: str) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(url, seat.login)
    assert (page.status, page.error) == (200, "")
    assert f'"client": "{LINES["hk1"].near[6]}"' in page.text
    assert page.asked <= 1  # once for all, and it remembers
    opened = seat.recorded("open", PAPERS, since)
    assert {(r["line"], r["grant"], r["listener"]) for r in opened} == {("hk1", "g-shop", "acc-a-4")}


@pytest.mark.usefixtures("node")
def test_a_refused_tunnel_shows_nothing_of_the_reason(seat: Seat) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(f"https://{VIDEO}/", seat.login)
    assert page.error == "net::ERR_TUNNEL_CONNECTION_FAILED"
    assert page.text.startswith(UNREACHED)
    refusals = seat.recorded("deny", VIDEO, since)
    assert {r["reason"] for r in refusals} == {"not-whitelisted"}
    assert not [r["ref"] for r in refusals if r["ref"] in page.text]


@pytest.mark.usefixtures("node")
def test_a_refused_plain_request_is_a_page_with_reason_and_reference(seat: Seat) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(f"http://{VIDEO}/", seat.login)
    assert (page.status, page.title) == (403, "不在白名单内 · Not whitelisted")
    (refusal,) = seat.recorded("deny", VIDEO, since)
    for words in ("该服务不在贵公司的白名单内。", "This service is not on your firm's whitelist.", VIDEO):
        assert words in page.text
    assert refusal["ref"] in page.text


LOGINS = {"no credential": ("", ""), "a wrong token": ("c-aaaaaaaaaa", "A" * 43)}


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS.keys())
def test_a_person_who_gives_up_at_the_password(node: Node, tmp_path: Path, login: tuple[str, str]) -> None:
    with seated(node, SETUPS["with a proxy"], tmp_path, login) as stranger:
        page = stranger.browser.visit(f"https://{VIDEO}/", login)
        assert (page.status, page.error) == (407, "net::ERR_HTTP_RESPONSE_CODE_FAILURE")
        assert "HTTP ERROR 407" in page.text
        page = stranger.browser.visit(f"http://{VIDEO}/", login)
    assert (page.status, page.title) == (407, "身份未知 · Identity unknown")
    assert "Set the proxy user name to the credential id and the password to its token." in page.text
    shown = re.search(r"Reference\n([0-9A-Z]{16})\n", page.text)
    assert shown, page.text
    assert node.stage.record(ref=shown[1])["reason"] == "identity-unknown"
