"""Chromium, set up with a proxy or with a PAC file: what a person at it sees of a granted service and of a refusal."""

import contextlib
import re
import shutil
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ops.demo.network import FIRMS, LINES
from ops.demo.stage import PORT
from ops.demo.world import MIRROR, VIDEO
from tests.acceptance.chromium import Browser, chromium, trust
from tests.acceptance.kit import SECURED, Node, ca_files, identity_of
from tests.acceptance.shop import PLAIN, TLS

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("shop")]

NEAR, FAR = FIRMS["acme"].near[4], FIRMS["acme"].far[4]
PAC_PORT = 8081
# Without a second choice: what the proxy refuses must not be tried beside it.
PAC = f'function FindProxyForURL(url, host) {{ return "PROXY {NEAR}:{PORT}"; }}\n'
UNREACHED = "This site can’t be reached"
SETUPS = {
    "with a proxy": (f"--proxy-server=http://{NEAR}:{PORT}", "acc-a-4"),
    "with a proxy over TLS": (f"--proxy-server=https://{NEAR}:{SECURED}", "tls-acme"),
    "with a PAC file": (f"--proxy-pac-url=http://{FAR}:{PAC_PORT}/proxy.pac", "acc-a-4"),
}


class _Pac(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ns-proxy-autoconfig")
        self.end_headers()
        self.wfile.write(PAC.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pac(session_node: Node) -> Iterator[None]:
    """The firm's own web server with the PAC file: a socket stays in the namespace in which it was made."""
    with session_node.stage.zone.inside(FIRMS["acme"].ns):
        server = socketserver.ThreadingTCPServer((FAR, PAC_PORT), _Pac)  # HTTPServer would look its own name up
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@dataclass(frozen=True)
class Seat:
    """A person at Chromium, which comes in by this listener. login: what they type when asked."""

    node: Node
    browser: Browser
    listener: str
    login: tuple[str, str] = field(repr=False)


@contextlib.contextmanager
def seated(node: Node, setup: tuple[str, str], home: Path, login: tuple[str, str]) -> Iterator[Seat]:
    """A Chromium that trusts the CAs abroad and of the zone, and was not asked for a password yet."""
    if lacking := [name for name in ("chromium", "certutil") if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(lacking)}; ./setup.sh clients .venv installs it")
    trust(home, abroad=node.stage.ca, zone=ca_files(node.stage) / "root.crt")
    with chromium(node.stage.zone, FIRMS["acme"].ns, home, home / "log", [setup[0]]) as browser:
        yield Seat(node, browser, setup[1], login)


@pytest.fixture(scope="module", params=SETUPS.values(), ids=SETUPS.keys())
def seat(session_node: Node, pac: None, request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Seat]:
    """One Chromium of acme's for all its questions."""
    name, _, password = identity_of(session_node.stage, "acme").partition(":")
    with seated(session_node, request.param, tmp_path_factory.mktemp("chromium"), (name, password)) as taken:
        yield taken


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("url", [f"https://{MIRROR}:{TLS}/", f"http://{MIRROR}:{PLAIN}/"], ids=["https", "http"])
def test_a_granted_service_is_there(seat: Seat, url: str) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(url, seat.login)
    assert (page.status, page.error) == (200, "")
    assert f'"client": "{LINES["hk1"].near[4]}"' in page.text
    assert page.asked <= 1  # once for all, and it remembers
    opened = seat.node.recorded("open", MIRROR, since)
    assert {(r["line"], r["grant"], r["listener"]) for r in opened} == {("hk1", "g-shop", seat.listener)}


@pytest.mark.usefixtures("node")
def test_a_refused_tunnel_shows_nothing_of_the_reason(seat: Seat) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(f"https://{VIDEO}/", seat.login)
    assert page.error == "net::ERR_TUNNEL_CONNECTION_FAILED"
    assert page.text.startswith(UNREACHED)
    refusals = seat.node.recorded("deny", VIDEO, since)
    assert {r["reason"] for r in refusals} - {"identity-unknown"} == {"not-whitelisted"}
    assert not [r["ref"] for r in refusals if r["ref"] in page.text]


@pytest.mark.usefixtures("node")
def test_a_refused_plain_request_is_a_page_with_reason_and_reference(seat: Seat) -> None:
    since = time.time_ns() // 1000
    page = seat.browser.visit(f"http://{VIDEO}/", seat.login)
    assert (page.status, page.title) == (403, "不在白名单内 · Not whitelisted")
    refusal = seat.node.recorded("deny", VIDEO, since)[0]
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
        for _ in range(5):
            page = stranger.browser.visit(f"http://{VIDEO}/", login)
            assert (page.status, page.title) == (407, "身份未知 · Identity unknown")
            assert "Set the proxy user name to the credential id and the password to its token." in page.text
            shown = re.search(r"Reference\n([0-9A-Z]{16})\n", page.text)
            assert shown, page.text
            # Beyond ten a second a stranger's refusals are only counted, and Chromium asks for much when it starts.
            if record := node.stage.record(ref=shown[1]):
                break
    assert record["reason"] == "identity-unknown"
