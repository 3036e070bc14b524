"""A firm with a certificate on a whole node: CA, listener by reload, enrolment by request, real clients, revocation."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.config import Tls
from ops.demo.client import Client
from ops.demo.network import FIRMS, LINES
from ops.demo.world import SEARCH, VIDEO
from ops.settings import Listener
from tests.acceptance.kit import SLOW, Node, ca_files, certificate_of

pytestmark = pytest.mark.root

PORT = 3141
GATEWAY = FIRMS["acme"].near[4]


@dataclass(frozen=True)
class Certified:
    """A credential that is a certificate, its files, and curl with it."""

    name: str
    certificate: Path
    key: Path
    curl: Client


@pytest.fixture(scope="module")
def secured(session_node: Node) -> Iterator[Node]:
    """The node with a CA and a TLS listener beside its others; its configuration is put back."""
    stage = session_node.stage
    files = ca_files(stage)
    tls = Tls(
        certificate=str(files / "server.crt"), key=str(files / "server.key"), client_ca=str(files / "clients.pem")
    )
    before = stage.settings()
    demands = ("certificate", "prefix")
    listener = Listener(name="acc-a-tls", kind="http", address=f"{GATEWAY}:{PORT}", demands=demands, tls=tls)
    reload(session_node, msgspec.structs.replace(before, listeners=(*before.listeners, listener)))
    yield session_node
    reload(session_node, before)


def reload(node: Node, settings: object) -> None:
    stage = node.stage
    stage.write_config(settings)  # type: ignore[arg-type]
    at = stage.liveness()["reload"]["at"]
    os.kill(int(stage.liveness()["pid"]), signal.SIGHUP)
    stage.wait(lambda: stage.liveness().get("reload", {}).get("at", 0) > at, "no reload", 20)
    stage.wait(lambda: stage.liveness()["reload"]["result"] != "running", "the reload goes on", 40)
    assert stage.liveness()["reload"]["result"] == "ok", stage.last_words()
    stage.wait(stage.is_ready, "the node is not ready", 20)


def enrol(node: Node, label: str) -> Certified:
    """A certificate of acme's, and curl with it."""
    stage = node.stage
    key, certificate, name = certificate_of(node, "acme", label)
    config = stage.directory / f"{label}.curl"
    config.write_text(
        f'proxy = "https://{GATEWAY}:{PORT}"\nproxy-cacert = "{stage.directory}/state/ca/root.crt"\n'
        f'proxy-cert = "{certificate}"\nproxy-key = "{key}"\ncacert = "{stage.ca}"\nsilent\nshow-error\n'
    )
    client = Client(stage.zone, FIRMS["acme"], config, stage.directory)
    return Certified(name, certificate, key, client)


@pytest.fixture(scope="module")
def certified(secured: Node) -> Certified:
    return enrol(secured, "build-server")


def test_curl_gets_through_and_the_record_says_who(secured: Node, certified: Certified) -> None:
    answer = certified.curl.curl(f"https://{SEARCH}/")
    assert (answer.exit, answer.status) == (0, 200), answer.error
    assert answer.json["client"] == LINES["hk1"].near[6]
    record = secured.closed_from(answer.figures["local_port"])
    assert (record["tenant"], record["credential"], record["listener"]) == ("acme", certified.name, "acc-a-tls")
    assert record["user"].startswith("u-")


def test_curl_gets_plain_requests_and_uploads_through(secured: Node, certified: Certified) -> None:
    answer = certified.curl.curl(f"http://{SEARCH}/up", "--data-binary", "x" * 100_000)
    assert (answer.exit, answer.json["received"]) == (0, 100_000), answer.error
    answer = certified.curl.curl(f"https://{SEARCH}/up", "--data-binary", "x" * 100_000)
    assert (answer.exit, answer.json["received"]) == (0, 100_000), answer.error


def test_a_refusal_inside_tls_says_why(secured: Node, certified: Certified) -> None:
    answer = certified.curl.curl(f"https://{VIDEO}/")
    assert (answer.status, answer.reason) == (403, "not-whitelisted")
    assert secured.stage.record(ref=answer.ref)["credential"] == certified.name


def test_curl_without_a_certificate_gets_no_further_than_the_handshake(secured: Node, certified: Certified) -> None:
    config = secured.stage.directory / "nobody-tls.curl"
    lines = certified.curl.file.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(("proxy-cert", "proxy-key"))) + "\n")
    answer = Client(secured.stage.zone, FIRMS["acme"], config, secured.stage.directory).curl(f"https://{SEARCH}/")
    assert answer.exit != 0
    assert answer.status == 0
    record: dict[str, Any] = {}

    def recorded() -> bool:
        record.update(secured.stage.record(kind="deny", reason="identity-unknown"))
        return record["listener"] == "acc-a-tls"

    secured.stage.wait(recorded, "the refusal is not in the log")
    assert record["detail"] == "TLS: peer did not return a certificate"


def test_python_and_openssl_get_through_too(secured: Node, certified: Certified) -> None:
    stage = secured.stage
    code = (
        "import http.client, ssl, sys\n"
        "proxy, port, root, cert, key, ca, host = sys.argv[1:]\n"
        "outer = ssl.create_default_context(cafile=root); outer.load_cert_chain(cert, key)\n"
        "import socket\n"
        "sock = outer.wrap_socket(socket.create_connection((proxy, int(port))), server_hostname=proxy)\n"
        "sock.sendall(f'CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}:443\\r\\n\\r\\n'.encode())\n"
        "head = b''\n"
        "while b'\\r\\n\\r\\n' not in head: head += sock.recv(1)\n"
        "inner_in, inner_out = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "inner = ssl.create_default_context(cafile=ca).wrap_bio(inner_in, inner_out, server_hostname=host)\n"
        "def go(work):\n"
        "    while True:\n"
        "        try:\n"
        "            done = work(); sock.sendall(inner_out.read()); return done\n"
        "        except ssl.SSLWantReadError:\n"
        "            sock.sendall(inner_out.read()); inner_in.write(sock.recv(65536))\n"
        "go(inner.do_handshake)\n"
        "inner.write(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'.encode())\n"
        "print(head.split(b'\\r\\n')[0].decode(), go(lambda: inner.read(65536)).split(b'\\r\\n')[0].decode())\n"
    )
    root = str(stage.directory / "state" / "ca" / "root.crt")
    files = [root, str(certified.certificate), str(certified.key), str(stage.ca)]
    done = stage.zone.run(FIRMS["acme"].ns, ["python3", "-c", code, GATEWAY, str(PORT), *files, SEARCH], 20)
    assert done.stdout.strip() == "HTTP/1.1 200 Connection established HTTP/1.1 200 OK", done.stderr
    command = (
        f"printf 'CONNECT {VIDEO}:443 HTTP/1.1\\r\\nHost: {VIDEO}:443\\r\\n\\r\\n' | openssl s_client -quiet "
        f"-verify_quiet -connect {GATEWAY}:{PORT} -CAfile {root} -verify_return_error -cert {certified.certificate} "
        f"-cert_chain {certified.certificate} -key {certified.key} -alpn http/1.1"
    )
    done = stage.zone.run(FIRMS["acme"].ns, ["sh", "-c", command], 20)
    assert done.stdout.startswith("HTTP/1.1 403 Not whitelisted"), done.stdout + done.stderr


def test_revocation_cuts_a_download_and_lets_nothing_new_in(secured: Node) -> None:
    lost = enrol(secured, "lost-laptop")
    stage = secured.stage
    stage.clients["certified"] = lost.curl
    try:
        with secured.download("certified", f"https://{SEARCH}/{SLOW}") as (process, flow):
            secured.feiyu("credential", "revoke", lost.name)
            assert process.wait(10) != 0
            assert [r["cause"] for r in secured.closing(flow)] == ["cut-by-policy"]
    finally:
        del stage.clients["certified"]
    answer = lost.curl.curl(f"https://{SEARCH}/")
    assert (answer.status, answer.reason) == (407, "identity-revoked")
    lists = stage.feiyu("ca", "crl")
    assert lists.returncode == 0, lists.stderr
    shown = subprocess.run(
        ["openssl", "crl", "-noout", "-text"], input=lists.stdout, capture_output=True, text=True, check=True
    )
    assert shown.stdout.count("Serial Number:") == 1


def test_a_rotation_is_in_force_while_a_download_goes_on(secured: Node, certified: Certified) -> None:
    stage = secured.stage
    stage.clients["certified"] = certified.curl

    def served() -> bytes:
        code = "import ssl, sys\nprint(ssl.get_server_certificate((sys.argv[1],int(sys.argv[2]))))"
        done = stage.zone.run(
            FIRMS["acme"].ns,
            ["python3", "-c", code, GATEWAY, str(PORT), str(stage.directory / "state/ca/root.crt")],
            20,
        )
        return done.stdout.encode()

    try:
        with secured.download("certified", f"https://{SEARCH}/{SLOW}") as (process, flow):
            before = served()
            assert before.startswith(b"-----BEGIN CERTIFICATE")
            done = stage.feiyu("ca", "rotate", "--root", str(stage.directory / "safe"))
            assert done.returncode == 0, done.stderr
            stage.wait(lambda: served() not in (before, b""), "the new certificate is not shown", 10)
            newer = enrol(secured, "newer")
            for one in (newer, certified):  # the old issuing CA's certificates stay good
                answer = one.curl.curl(f"https://{SEARCH}/")
                assert (answer.exit, answer.status) == (0, 200), answer.error
            assert process.poll() is None
            assert not secured.closes(flow)
    finally:
        del stage.clients["certified"]
