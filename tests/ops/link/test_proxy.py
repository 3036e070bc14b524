"""The running link between a program and gateways that the test plays: bytes both ways, ends, failover, tokens."""

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ops.link import proxy, renewal
from ops.link.error import LinkError
from ops.link.files import Files, Settings
from ops.link.identity import read
from tests.ops.link.kit import Gateway, Zone, free, read_head, serving

SIZE = 8 << 20
CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


@contextlib.asynccontextmanager
async def running(
    files: Files, settings: Settings, back: asyncio.Event | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """A link's port, and what it says. back: set once a gateway is reached again."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if back is not None and "is reached again" in line:
            back.set()

    link = proxy.Link(files, settings, say)
    server = await link.listen()
    probing = asyncio.create_task(link.probe_for_ever())
    try:
        async with server:
            yield server.sockets[0].getsockname()[1], said
    finally:
        probing.cancel()


async def asked(port: int, *words: bytes) -> bytes:
    """All that comes back for these words, with the program's direction left open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(words)
    await writer.drain()
    async with asyncio.timeout(20):
        heard = await reader.read()
    writer.close()
    return heard


def says(words: bytes) -> Callable[[ssl.SSLSocket, Gateway], None]:
    def talk(tls: ssl.SSLSocket, gateway: Gateway) -> None:
        if read_head(tls, gateway):
            tls.sendall(words)
            with contextlib.suppress(OSError):
                tls.unwrap()

    return talk


def digests(tls: ssl.SSLSocket, gateway: Gateway) -> None:
    """Answers the head, takes everything to the program's end, then sends as much and its digest of what came."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += tls.recv(1)
    tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    found = hashlib.sha256()
    while piece := tls.recv(65_536):
        found.update(piece)
    down = os.urandom(SIZE)
    tls.sendall(found.digest() + hashlib.sha256(down).digest() + down)
    tls.unwrap()


async def test_eight_megabytes_pass_whole_each_way_and_each_direction_ends_by_itself(zone: Zone) -> None:
    gateway = Gateway(zone, digests)
    with serving(gateway):
        async with running(*zone.enrolled(gateway.name, listen=free())) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            up = os.urandom(SIZE)
            writer.write(CONNECT)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
            writer.write(up)
            await writer.drain()
            writer.write_eof()  # the gateway answers only now
            async with asyncio.timeout(30):
                heard = await reader.read()
            writer.close()
    assert heard[:32] == hashlib.sha256(up).digest()
    assert heard[32:64] == hashlib.sha256(heard[64:]).digest()
    assert len(heard) == SIZE + 64


async def test_words_and_refusals_pass_as_they_are(zone: Zone) -> None:
    refusal = b"HTTP/1.1 403 Not whitelisted (ref X)\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    gateway = Gateway(zone, says(refusal))
    head = b"cOnNeCt  a.example:443 HTTP/1.1\r\nX-Odd:\tvalue \r\nProxy-Authorization: Basic abc\r\n\r\n"
    with serving(gateway):
        async with running(*zone.enrolled(gateway.name, listen=free())) as (port, _):
            assert await asked(port, head) == refusal
    assert gateway.heard == head


async def test_where_a_gateway_dies_the_other_serves_and_the_first_again_once_it_is_back(zone: Zone) -> None:
    first, second = Gateway(zone, says(b"first")), Gateway(zone, says(b"second"))
    back = asyncio.Event()
    with serving(second):
        async with running(*zone.enrolled(first.name, second.name, listen=free()), back) as (port, said):
            assert await asked(port, CONNECT) == b"first"
            first.close()
            assert await asked(port, CONNECT) == b"second"
            assert any(f"{first.name} is not reached" in line for line in said)
            tries = len(said)
            assert await asked(port, CONNECT) == b"second"
            assert len([line for line in said[tries:] if "first" in line]) == 0
            first = Gateway(zone, says(b"first"), port=int(first.name.rpartition(":")[2]))
            with serving(first):
                async with asyncio.timeout(20):
                    await back.wait()
                assert await asked(port, CONNECT) == b"first"


async def test_a_gateway_that_is_another_zones_is_told_nothing(zone: Zone, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Zone(tmp_path / "other")
    gateway = Gateway(other, says(b"hello"), demands=False)
    with serving(gateway):
        async with running(*zone.enrolled(gateway.name, listen=free())) as (port, _):
            heard = await asked(port, CONNECT)
    assert heard.startswith(b"HTTP/1.1 502 No gateway reached (feiyu link)\r\n")
    assert "本机无法连接园区的任何网关" in heard.decode()
    assert gateway.heard == b""


async def test_without_a_gateway_the_link_says_so(zone: Zone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port_of_none = taken.getsockname()[1]
    async with running(*zone.enrolled(f"127.0.0.1:{port_of_none}", listen=free())) as (port, said):
        assert (await asked(port, CONNECT)).startswith(b"HTTP/1.1 502 ")
    assert "is not reached" in said[0]


async def test_a_certificate_that_is_not_taken_is_said_to_the_program(zone: Zone) -> None:
    gateway = Gateway(zone, says(b"hello"))
    files, settings = zone.enrolled(gateway.name, listen=free())
    files.write(files.identity, zone.client(begun=7200, life=3600))
    with serving(gateway):
        async with running(files, settings) as (port, _):
            heard = await asked(port, CONNECT)
    assert heard.startswith(b"HTTP/1.1 502 Certificate not taken (feiyu link)\r\n")
    assert b"certificate expired" in heard
    assert gateway.heard == b""


async def test_what_was_cut_does_not_look_whole_to_the_program(zone: Zone) -> None:
    gateway = Gateway(zone, cut)
    with serving(gateway):
        async with running(*zone.enrolled(gateway.name, listen=free())) as (port, _):
            with pytest.raises(ConnectionResetError):
                await asked(port, CONNECT)


def cut(tls: ssl.SSLSocket, gateway: Gateway) -> None:
    read_head(tls, gateway)
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    tls.shutdown(socket.SHUT_RDWR)  # TCP's end without close_notify


async def test_a_local_token_is_demanded_and_not_passed_on(zone: Zone) -> None:
    gateway = Gateway(zone, says(b"HTTP/1.1 200 OK\r\n\r\n"))
    with serving(gateway):
        files, settings = zone.enrolled(gateway.name, listen=free(), local_token="secret")
        async with running(files, settings) as (port, _):
            assert (await asked(port, CONNECT)).startswith(b"HTTP/1.1 407 Local token needed (feiyu link)\r\n")
            assert gateway.shaken == 0
            field = b"Proxy-Authorization: Basic bGluazpzZWNyZXQ=\r\n"
            assert await asked(port, CONNECT[:-2] + field + b"\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
    assert gateway.heard == CONNECT


async def test_a_renewed_certificate_is_shown_with_the_next_connection(zone: Zone) -> None:
    shown: list[int] = []

    def talk(tls: ssl.SSLSocket, gateway: Gateway) -> None:
        read_head(tls, gateway)
        shown.append(int((tls.getpeercert() or {})["serialNumber"], 16))  # type: ignore[arg-type]
        tls.sendall(b"x")
        tls.unwrap()

    gateway = Gateway(zone, talk)
    files, settings = zone.enrolled(gateway.name, listen=free())
    with serving(gateway):
        async with running(files, settings) as (port, _):
            await asked(port, CONNECT)
            await asked(port, CONNECT)
            files.write(files.identity, zone.client(credential="c-0000000002"))
            await asked(port, CONNECT)
    assert shown[0] == shown[1] != shown[2]


async def test_the_running_link_renews_what_is_due_and_goes_on_where_that_fails(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, settings = zone.enrolled("127.0.0.1:1")
    files.write(files.identity, zone.client(begun=3000, life=3600))  # two thirds are over
    tries: list[str] = []

    def certificate(_files: Files, _settings: Settings, gateway: str, token: str = "") -> bytes:
        tries.append(gateway)
        if len(tries) == 1:
            raise LinkError("not now")
        return zone.client(credential="c-0000000002")

    monkeypatch.setattr(renewal.ask, "certificate", certificate)
    monkeypatch.setattr(renewal, "SOON", 0.0)
    said: list[str] = []
    renewed = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        if "certificate renewed" in line:
            renewed.set()

    task = asyncio.create_task(renewal.renew_for_ever(files, settings, say))
    try:
        async with asyncio.timeout(20):
            await renewed.wait()
    finally:
        task.cancel()
    assert said == ["the certificate is not renewed yet: not now", "certificate renewed: c-0000000002"]
    assert read(files.identity).credential == "c-0000000002"
