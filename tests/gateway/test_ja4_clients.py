"""JA4 of hellos that real clients send over loopback, against a second reading that shares no code with the first."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.handshake.client_hello import ClientHello, parse_client_hello
from gateway.handshake.hello_memo import HelloMemo

NAME = "api.example.com"
GREASE = {f"{n:x}a{n:x}a" for n in range(16)}
PYTHON = """
import socket, ssl, sys
context = ssl.create_default_context()
context.set_alpn_protocols(sys.argv[2:])
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as raw:
    context.wrap_socket(raw, server_hostname="api.example.com")
"""
OPENSSL = ["openssl", "s_client", "-connect", "127.0.0.1:{port}"]
CURL = ["curl", "-s", "-o", "/dev/null", "--connect-to", f"{NAME}:443:127.0.0.1:{{port}}", f"https://{NAME}/"]

# What is said, and how its fingerprint begins as far as that does not depend on the client's version.
CLIENTS: dict[str, tuple[list[str], str, str | None]] = {
    "openssl": ([*OPENSSL, "-servername", NAME], "t13d", NAME),
    "openssl with protocols": ([*OPENSSL, "-servername", NAME, "-alpn", "h2,http/1.1"], "t13d", NAME),
    "openssl without a name": ([*OPENSSL, "-noservername"], "t13i", None),
    "openssl at TLS 1.2": ([*OPENSSL, "-servername", NAME, "-tls1_2"], "t12d", NAME),
    "openssl at TLS 1.3 only": ([*OPENSSL, "-servername", NAME, "-tls1_3", "-alpn", "dot"], "t13d", NAME),
    "openssl with one cipher and one group": (
        [*OPENSSL, "-servername", NAME, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-groups", "P-256"],
        "t12d02", NAME,  # the cipher, and the signal that renegotiation is secure
    ),
    "python": ([sys.executable, "-c", PYTHON, "{port}"], "t13d", NAME),
    "python with protocols": ([sys.executable, "-c", PYTHON, "{port}", "h2", "http/1.1"], "t13d", NAME),
    "python with a protocol that has no letter at its end": (
        [sys.executable, "-c", PYTHON, "{port}", "imap+", "h2"], "t13d", NAME,
    ),
    "curl": (CURL, "t13d", NAME),
    "curl for HTTP/1.1": ([*CURL, "--http1.1"], "t13d", NAME),
    "curl at TLS 1.2": ([*CURL, "--tls-max", "1.2"], "t12d", NAME),
}  # fmt: skip


@contextmanager
def first_words(command: list[str]) -> Iterator[bytes]:
    """What a client says first, in as many pieces as it takes; the client gets no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = str(listener.getsockname()[1])
        process = subprocess.Popen(
            [part.replace("{port}", port) for part in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            talk, _ = listener.accept()
            with talk:
                talk.settimeout(20)
                data = b""
                while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5]):
                    more = talk.recv(65_536)
                    assert more, "the client left before its hello was whole"
                    data += more
                yield data
        finally:
            process.kill()
            process.wait()


def read(data: bytes) -> ClientHello:
    found = parse_client_hello(data)
    assert found is not None
    return found


@pytest.mark.parametrize("case", CLIENTS)
def test_fingerprint_of(case: str) -> None:
    command, begins, sni = CLIENTS[case]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with first_words(command) as data:
        found = read(data)
    assert found.sni == sni
    assert found.ja4 == second_reading(data)
    assert found.ja4.startswith(begins)
    assert not found.ech


def test_a_client_has_one_fingerprint_whatever_is_fresh_in_its_hellos() -> None:
    memo, prints = HelloMemo(), []
    for _ in range(4):
        with first_words(CLIENTS["python with protocols"][0]) as data:
            known = memo.recall(data)
            prints.append(known[0].ja4 if known is not None else memo.learn(data, read(data)).ja4)
    assert known is not None, "a program's hellos are recognised"
    assert len(set(prints)) == 1


def test_clients_that_differ_have_fingerprints_that_differ() -> None:
    found = set()
    for said in (lambda c: None, lambda c: c.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256"), no_tls13):
        found.add(read(python_hello(said)).ja4)
    assert len(found) == 3


def no_tls13(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def python_hello(change: Callable[[ssl.SSLContext], None]) -> bytes:
    context = ssl.create_default_context()
    change(context)
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def second_reading(data: bytes) -> str:
    """JA4 of a hello in one record, step by step as technical_details/JA4.md has it."""
    body = data[9 : 9 + int.from_bytes(data[6:9])].hex()
    at = 2 * 34

    def take(width: int) -> str:
        """A vector whose length stands before it in so many octets."""
        nonlocal at
        size = int(body[at : at + 2 * width], 16)
        at += 2 * width + 2 * size
        return body[at - 2 * size : at]

    def fours(text: str) -> list[str]:
        return [text[n : n + 4] for n in range(0, len(text), 4)]

    take(1)
    ciphers = [one for one in fours(take(2)) if one not in GREASE]
    take(1)
    body, at = take(2), 0
    extensions: dict[str, str] = {}
    while at < len(body):
        kind = body[at : at + 4]
        at += 4
        extensions[kind] = take(2)
    for grease in GREASE:
        extensions.pop(grease, None)
    versions = [one for one in fours(extensions.get("002b", "")[2:]) if one not in GREASE] or [data[9:11].hex()]
    first = bytes.fromhex(extensions.get("0010", "0000")[4:])
    first = first[1 : 1 + first[0]] if first else b""
    ends = "00" if not first else chr(first[0]) + chr(first[-1])
    if first and not (chr(first[0]).isalnum() and chr(first[-1]).isalnum()):
        ends = first.hex()[0] + first.hex()[-1]
    signatures = [one for one in fours(extensions.get("000d", "")[4:]) if one not in GREASE]
    kinds = ",".join(sorted(set(extensions) - {"0000", "0010"}))
    version = {"0304": "13", "0303": "12"}[max(versions)]
    counts = f"{len(ciphers):02}{len(extensions):02}{ends}"
    parts = (",".join(sorted(ciphers)), "_".join(filter(None, (kinds, ",".join(signatures)))))
    hashes = [hashlib.sha256(part.encode()).hexdigest()[:12] for part in parts]
    return "_".join((f"t{version}{'d' if '0000' in extensions else 'i'}{counts}", *hashes))
