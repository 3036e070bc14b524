"""A machine sends nothing before the zone's CA is the pinned one and the gateway's name is right. The gateway is a TLS
server that keeps every byte it is told."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.link import archive, ask
from ops.link.enrolling import enrol
from ops.link.error import LinkError, Refused, Unreachable
from ops.link.files import Files, Settings
from ops.link.identity import read
from tenants import ca
from tests.ops.link.kit import Gateway, Zone, read_head, serving
from tests.ops.link.test_standing_alone import PYTHONS, usable

TOKEN = "c-0123456789." + "T" * 43


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


def enrols(zone: Zone) -> Callable[[ssl.SSLSocket, Gateway], None]:
    """A gateway that certifies the key it is asked for."""

    def talk(tls: ssl.SSLSocket, gateway: Gateway) -> None:
        head = read_head(tls, gateway)
        if not head:
            return
        body = ask.json.loads(head.partition(b"\r\n\r\n")[2])
        key = ca.request_key(body["request"].encode())
        made = ca.issue_client(zone.issuing, key, "acme", "c-0000000002", zone.now)
        said = ask.json.dumps({"certificate": ca.pem(made).decode()}).encode()
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)

    return talk


def go(files: Files, settings: Settings, token: str = TOKEN, *, again: bool = False) -> list[str]:
    said: list[str] = []
    enrol(files, settings, token, said.append, again=again)
    return said


def test_with_the_right_fingerprint_the_token_is_traded_for_a_certificate(zone: Zone, tmp_path: Path) -> None:
    gateway = Gateway(zone, enrols(zone), demands=False)
    files = Files(tmp_path / "machine")
    with serving(gateway):
        go(files, Settings((gateway.name,), zone.pin))
        assert gateway.heard.startswith(b"POST /enrol HTTP/1.1\r\n")
        assert TOKEN.encode() in gateway.heard
        assert b"PRIVATE" not in gateway.heard
        assert read(files.identity).credential == "c-0000000002"
        assert files.root.read_bytes() == ca.pem(zone.root.certificate)
        with pytest.raises(LinkError, match="enrolled already"):
            go(files, Settings((gateway.name,), zone.pin))
        before = files.identity.read_bytes()
        go(files, Settings((gateway.name,), zone.pin), again=True)
        assert files.identity.read_bytes() != before


def with_root(path: Path, zone: Zone) -> Path:
    path.write_bytes(path.read_bytes() + ca.pem(zone.root.certificate))
    return path


def client_as_server(zone: Zone) -> Path:
    path = zone.directory / "client-as-server.pem"
    path.write_bytes(zone.client() + ca.pem(zone.issuing.certificate, zone.root.certificate))
    return path


IMPOSTORS: dict[str, tuple[Callable[[Zone], Path], Callable[[Zone], str], str]] = {
    "another fingerprint": (lambda z: z.server(), lambda z: "0" * 64, "does not show the zone's CA"),
    "one digit of it wrong": (
        lambda z: z.server(), lambda z: z.pin[:-1] + ("0" if z.pin[-1] != "0" else "1"), "does not show the zone's CA",
    ),
    "the fingerprint of the gateway's own certificate's issuer": (
        lambda z: z.server(), lambda z: ca.fingerprint(z.issuing.certificate), "is not a gateway of your zone",
    ),
    "a chain without its root": (lambda z: z.server(root=False), lambda z: z.pin, "does not show the zone's CA"),
    "another zone's gateway": (
        lambda z: Zone(z.directory).server(), lambda z: z.pin, "does not show the zone's CA",
    ),
    "the pinned root in another zone's chain": (
        lambda z: with_root(Zone(z.directory).server(root=False), z), lambda z: z.pin, "is not a gateway of your zone",
    ),
    "another name": (lambda z: z.server("gw1.zone.example"), lambda z: z.pin, "is not a gateway of your zone"),
    "a client's certificate": (client_as_server, lambda z: z.pin, "is not a gateway of your zone"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPOSTORS)
def test_nothing_is_sent_to_an_impostor(case: str, zone: Zone, tmp_path: Path) -> None:
    server, pin, words = IMPOSTORS[case]
    gateway = Gateway(zone, read_all, server=server(zone), demands=False)
    files = Files(tmp_path / "machine")
    with serving(gateway), pytest.raises(LinkError, match=words):
        go(files, Settings((gateway.name,), pin(zone)))
    assert gateway.shaken >= 1
    assert gateway.heard == b""
    assert not files.identity.exists()
    with pytest.raises(LinkError, match="not enrolled"):
        files.settings()


def read_all(tls: ssl.SSLSocket, gateway: Gateway) -> None:
    while piece := tls.recv(65_536):
        gateway.heard += piece


def answers(words: bytes) -> Callable[[ssl.SSLSocket, Gateway], None]:
    def talk(tls: ssl.SSLSocket, gateway: Gateway) -> None:
        if read_head(tls, gateway):
            tls.sendall(words)

    return talk


def framed(body: bytes, line: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (line, len(body), body)


ANSWERS: dict[str, tuple[bytes, type[LinkError], str]] = {
    "a refusal, in its words": (
        framed(
            b'{"detail":"D","cause":"used already","instance":"https://p/r/REF1","i18n":{"en":{"detail":"E","remedy":"R"}}}',
            b"407 Identity revoked (ref REF1)",
        ),
        Refused, r"407 Identity revoked \(ref REF1\)\. E \(used already\)",
    ),
    "no JSON": (framed(b"<html>"), Refused, "200 OK"),
    "no certificate": (framed(b"{}"), LinkError, "no certificate for this machine's key"),
    "somebody's certificate": (framed(b'{"certificate":"x"}'), LinkError, "no certificate for this machine's key"),
    "nothing": (b"", Unreachable, "is not reached"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", Unreachable, "is not reached"),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_is_no_certificate_leaves_the_machine_as_it_was(case: str, zone: Zone, tmp_path: Path) -> None:
    words, kind, wanted = ANSWERS[case]
    gateway = Gateway(zone, answers(words), demands=False)
    files = Files(tmp_path / "machine")
    with serving(gateway), pytest.raises(kind, match=wanted) as caught:
        go(files, Settings((gateway.name,), zone.pin))
    if kind is Refused and "REF1" in wanted:
        assert caught.value.ref == "REF1"  # type: ignore[attr-defined]  # it is a Refused
        assert caught.value.remedy == "R"
    assert not files.identity.exists()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_file_enrols_with_every_python_here(python: str, zone: Zone, tmp_path: Path) -> None:
    """The chain that was shown is read in another way before Python 3.13."""
    if not usable(python):
        pytest.skip(f"{python} is not here, or has no cryptography")
    archive.write(tmp_path / archive.NAME)
    gateway = Gateway(zone, enrols(zone), demands=False)
    argv = [python, "-I", str(tmp_path / archive.NAME), "enrol", "--dir", str(tmp_path / "machine"), "--lang", "zh"]
    argv += ["--gateway", gateway.name, "--ca", zone.pin]
    with serving(gateway):
        done = subprocess.run(argv, input=f"{TOKEN}\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "已登记：acme 的 c-0000000002" in done.stderr
