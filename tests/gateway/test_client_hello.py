"""The ClientHello reader: what it reads, what it refuses, and that no split of the stream changes either."""
# ruff: noqa: E501 (tables have one case per line)

import itertools
import json
import os
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.handshake.client_hello import ClientHello, HelloError, HelloReader, parse_client_hello
from gateway.handshake.tls_alert import DECODE_ERROR, fatal_alert

RANDOM = bytes(range(32))
CIPHERS = bytes.fromhex("0a0a130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035")


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">HH", kind, len(data)) + data


def server_name(name: bytes, kind: int = 0) -> bytes:
    return extension(0, struct.pack(">HBH", len(name) + 3, kind, len(name)) + name)


def alpn(*names: bytes) -> bytes:
    listed = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, struct.pack(">H", len(listed)) + listed)


def ech(kind: int = 0, key: bytes = bytes(32), payload: bytes = bytes(80)) -> bytes:
    """An ECHClientHello (RFC 9849 clause 5) with HKDF-SHA256 and AES-128-GCM."""
    rest = b"\0\1\0\1\x5a" + struct.pack(">H", len(key)) + key + struct.pack(">H", len(payload)) + payload
    return extension(0xFE0D, bytes([kind]) + rest)


SIGNATURES = extension(13, bytes.fromhex("001004030804040105030805050108060601"))
VERSIONS = extension(43, bytes.fromhex("065a5a03040303"))
GOOD_EXTENSIONS = (
    extension(0x1A1A, b"") + server_name(b"api.example.com") + alpn(b"h2", b"http/1.1") + SIGNATURES + VERSIONS
)


def body(extensions: bytes | None = GOOD_EXTENSIONS, ciphers: bytes = CIPHERS, session: bytes = RANDOM) -> bytes:
    fixed = (
        b"\x03\x03" + RANDOM + bytes([len(session)]) + session + struct.pack(">H", len(ciphers)) + ciphers + b"\x01\x00"
    )
    return fixed if extensions is None else fixed + struct.pack(">H", len(extensions)) + extensions


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3) + content


def records(content: bytes, size: int = 16384, version: bytes = b"\x03\x01") -> bytes:
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    return b"".join(b"\x16" + version + struct.pack(">H", len(piece)) + piece for piece in pieces)


def hello(*extensions: bytes) -> bytes:
    return records(message(body(b"".join(extensions))))


def outcome(data: bytes, **limits: int) -> Any:
    """What one read of the whole says, in a form that compares."""
    try:
        found = parse_client_hello(data, **limits)
    except HelloError as error:
        return error.kind
    return found and seen(found)


def seen(found: ClientHello) -> Any:
    return found.sni, found.sni_is_ip, found.alpn, found.versions, found.ech, found.ja4, found.consumed


def fed(pieces: list[bytes], **limits: int) -> Any:
    """What a reader says that gets the stream in pieces."""
    reader, buffer = HelloReader(**limits), bytearray()
    for piece in pieces:
        buffer += piece
        try:
            found = reader.read(buffer)
        except HelloError as error:
            return error.kind
        if found:
            return seen(found)
    return None


GOOD = {
    "a name, two protocols, GREASE": (hello(GOOD_EXTENSIONS), ("api.example.com", False, ("h2", "http/1.1"), False)),
    "upper case is folded": (hello(server_name(b"API.Example.COM")), ("api.example.com", False, (), False)),
    "no server name": (hello(SIGNATURES), (None, False, (), False)),
    "no extensions at all, as TLS 1.2 allows": (records(message(body(None))), (None, False, (), False)),
    "an empty extension block": (hello(), (None, False, (), False)),
    "an IPv4 literal as name": (hello(server_name(b"192.0.2.1")), ("192.0.2.1", True, (), False)),
    "a decimal address as name": (hello(server_name(b"2130706433")), ("2130706433", True, (), False)),
    "a hexadecimal last label as name": (hello(server_name(b"127.0.0.0x1")), ("127.0.0.0x1", True, (), False)),
    "an IPv6 literal as name": (hello(server_name(b"2001:DB8::1")), ("2001:db8::1", True, (), False)),
    "ECH beside the outer name": (hello(server_name(b"a.example"), VERSIONS, ech()), ("a.example", False, (), True)),
    "ECH without a name": (hello(VERSIONS, ech()), (None, False, (), True)),
    "ECH and a draft of TLS 1.3": (hello(extension(43, b"\x02\x7f\x1c"), ech()), (None, False, (), True)),
    "ECH that no server can decrypt, TLS 1.3 not being offered": (hello(extension(43, b"\x02\x03\x03"), ech()), (None, False, (), False)),
    "ECH that no server can decrypt, with GREASE for TLS 1.3": (hello(extension(43, b"\x04\xfa\xfa\x03\x03"), ech()), (None, False, (), False)),
    "ECH that no server can decrypt, without the client's key": (hello(VERSIONS, ech(key=b"")), (None, False, (), False)),
    "the ECH of an older draft": (hello(extension(0xFE0A, b"\0" * 9)), (None, False, (), True)),
    "the ECH of an older draft beside one that hides nothing": (hello(ech(), extension(0xFF02, b"")), (None, False, (), True)),
    "the older ESNI": (hello(extension(0xFFCE, b"\0" * 40)), (None, False, (), True)),
    "a protocol name outside ASCII": (hello(alpn(b"\x99a")), (None, False, ("\\x99a",), False)),
    "a protocol name that looks like another's escape": (hello(alpn(b"\\x99a")), (None, False, ("\\x5cx99a",), False)),
    "a protocol name with a comma": (hello(alpn(b"h2,http/1.1")), (None, False, ("h2\\x2chttp/1.1",), False)),
    "protocol names with a space, a line feed and a DEL": (hello(alpn(b"h 2", b"h2\n", b"\x7f")), (None, False, ("h\\x202", "h2\\x0a", "\\x7f"), False)),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_reads(case: str) -> None:
    data, expected = GOOD[case]
    found = parse_client_hello(data)
    assert found is not None
    assert (found.sni, found.sni_is_ip, found.alpn, found.ech) == expected
    assert found.consumed == len(data)


BAD = {
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "not-tls"),
    "an HTTP request": (b"GET / HTTP/1.1\r\n", "not-tls"),
    "an SSLv2 hello": (b"\x80\x2e\x01\x00\x02", "not-tls"),
    "a DTLS record": (b"\x16\xfe\xfd\x00\x00", "not-tls"),
    "a TLS alert first": (b"\x15\x03\x01\x00\x02\x02\x28", "not-tls"),
    "a record version of 3.5": (b"\x16\x03\x05\x00\x10", "not-tls"),
    "an empty record": (b"\x16\x03\x01\x00\x00", "malformed"),
    "a record longer than 2^14": (b"\x16\x03\x01\x40\x01", "malformed"),
    "another record type inside the message": (records(message(body())[:20]) + b"\x14\x03\x01\x00\x01\x01", "malformed"),
    "a ServerHello": (records(message(body(), kind=2)), "malformed"),
    "a second message behind the hello": (records(message(body()) + message(b"", kind=20)), "malformed"),
    "a message announced at 1 MiB": (records(b"\x01\x10\x00\x00\x03\x03"), "too-large"),
    "a body that ends inside the random": (records(message(b"\x03\x03" + RANDOM[:10])), "malformed"),
    "an empty body": (records(message(b"")), "malformed"),
    "a session id of 33 bytes": (records(message(body(session=bytes(33)))), "malformed"),
    "no ciphers": (records(message(body(ciphers=b""))), "malformed"),
    "half a cipher": (records(message(body(ciphers=b"\x13\x01\x13"))), "malformed"),
    "a trailing byte behind the extensions": (records(message(body() + b"\0")), "malformed"),
    "an extension longer than its block": (hello(struct.pack(">HH", 10, 9) + b"\0"), "malformed"),
    "an extension header cut short": (hello(b"\0\x0a\0"), "malformed"),
    "the server name extension twice": (hello(server_name(b"a.example"), server_name(b"b.example")), "malformed"),
    "an unknown extension twice": (hello(extension(99, b""), extension(99, b"")), "malformed"),
    "two names in one list": (hello(extension(0, b"\0\x12" + 2 * (b"\0\0\x06" + b"a.test"))), "malformed"),
    "a name list of a wrong length": (hello(extension(0, b"\0\xff\0\0\x06a.test")), "malformed"),
    "an empty name": (hello(server_name(b"")), "malformed"),
    "an empty server name extension": (hello(extension(0, b"")), "malformed"),
    "a name type that is not host_name": (hello(server_name(b"a.example", kind=1)), "malformed"),
    "a NUL in the name": (hello(server_name(b"good.example\0.evil.example")), "malformed"),
    "a trailing dot": (hello(server_name(b"a.example.")), "malformed"),
    "an empty label": (hello(server_name(b"a..example")), "malformed"),
    "a name outside ASCII": (hello(server_name("bücher.example".encode())), "malformed"),
    "a line feed at the end of the name": (hello(server_name(b"a.example\n")), "malformed"),
    "a name of 254 bytes": (hello(server_name(b"a." * 126 + b"aa")), "malformed"),
    "a label of 64 bytes": (hello(server_name(b"a" * 64 + b".example")), "malformed"),
    "a name in brackets": (hello(server_name(b"[2001:db8::1]")), "malformed"),
    "an IPv6 literal not shortened": (hello(server_name(b"2001:db8:0::1")), "malformed"),
    "an IPv6 literal with a zone": (hello(server_name(b"fe80::1%eth0")), "malformed"),
    "a mapped IPv4 literal in hexadecimal": (hello(server_name(b"::ffff:7f00:1")), "malformed"),
    "an empty version list": (hello(extension(43, b"\0")), "malformed"),
    "a version list longer than its length says": (hello(extension(43, b"\2\3\3\3\4")), "malformed"),
    "a version list shorter than its length says": (hello(extension(43, b"\4\3\3")), "malformed"),
    "half a version": (hello(extension(43, b"\3\3\3\4")), "malformed"),
    "an inner ECH outside of an encrypted hello": (hello(VERSIONS, extension(0xFE0D, b"\1")), "malformed"),
    "an ECH of neither type": (hello(VERSIONS, ech(kind=2)), "malformed"),
    "an empty ECH": (hello(VERSIONS, extension(0xFE0D, b"")), "malformed"),
    "an ECH without a payload": (hello(VERSIONS, ech(payload=b"")), "malformed"),
    "an ECH with an octet too many": (hello(VERSIONS, extension(0xFE0D, ech()[4:] + b"\0")), "malformed"),
    "an ECH that ends inside its key": (hello(VERSIONS, extension(0xFE0D, ech()[4:30])), "malformed"),
    "a list of compressed extensions outside of an encrypted hello": (hello(VERSIONS, ech(), extension(0xFD00, b"\2\0\x33")), "malformed"),
    "a port in the name": (hello(server_name(b"a.example:443")), "malformed"),
    "an empty protocol name": (hello(extension(16, b"\0\x02\x00\x00")), "malformed"),
    "a protocol list of a wrong length": (hello(extension(16, b"\0\x09\x02h2")), "malformed"),
    "a protocol name longer than the list": (hello(extension(16, b"\0\x03\x05h2")), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str) -> None:
    data, kind = BAD[case]
    with pytest.raises(HelloError) as caught:
        parse_client_hello(data)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("case", "detail"),
    [
        ("two names in one list", "more than one server name"),
        ("a second message behind the hello", "another handshake message behind the ClientHello"),
    ],
)
def test_says_what_is_wrong(case: str, detail: str) -> None:
    with pytest.raises(HelloError) as caught:
        parse_client_hello(BAD[case][0])
    assert caught.value.detail == detail


@pytest.mark.parametrize("case", [*GOOD, *BAD])
def test_one_byte_at_a_time_says_the_same(case: str) -> None:
    data = (GOOD | BAD)[case][0]
    assert fed([data[i : i + 1] for i in range(len(data))]) == outcome(data) is not None


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_split_over_records_reads_the_same(size: int) -> None:
    whole = message(body())
    split = records(whole, size)
    assert outcome(split) == (*outcome(records(whole))[:-1], len(split))
    assert fed([split[i : i + 1] for i in range(len(split))]) == outcome(split)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*GOOD, *BAD]), st.lists(st.integers(0, 400), max_size=6))
def test_any_split_of_the_stream_says_the_same(case: str, cuts: list[int]) -> None:
    data = (GOOD | BAD)[case][0]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert fed([data[a:b] for a, b in itertools.pairwise(edges)]) == outcome(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 300), st.integers(0, 255), st.integers(1, 400))
def test_damage_is_read_or_refused_but_never_crashes(at: int, value: int, size: int) -> None:
    whole = bytearray(message(body()))
    whole[at % len(whole)] = value
    data = records(bytes(whole), size)
    assert fed([data[i : i + 1] for i in range(len(data))]) == outcome(data)


def test_a_hello_that_never_ends_is_bounded() -> None:
    endless = records(message(bytes(16000)), 1)
    assert outcome(endless) == fed([endless[:8000], endless[8000:]]) == "too-large"


def test_an_incomplete_hello_asks_for_more() -> None:
    data = hello(GOOD_EXTENSIONS)
    assert parse_client_hello(b"") is None
    assert parse_client_hello(data[:-1]) is None


def test_bytes_behind_the_hello_are_left_alone() -> None:
    data = hello(GOOD_EXTENSIONS)
    found = parse_client_hello(bytearray(data + b"\x14\x03\x03\x00\x01\x01"))
    assert found is not None
    assert found.consumed == len(data)


def test_versions_fall_back_to_the_old_field() -> None:
    found = parse_client_hello(hello(SIGNATURES))
    assert found is not None
    assert found.versions == (0x0303,)


def test_the_alert_is_one_fatal_record() -> None:
    assert fatal_alert() == bytes.fromhex("15030300020270")
    assert fatal_alert(DECODE_ERROR) == bytes.fromhex("15030300020232")


# JA4's own worked example: technical_details/JA4.md.
JA4_CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
JA4_TYPES = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
JA4_ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"


def test_ja4_of_the_published_example() -> None:
    algorithms = bytes.fromhex(JA4_ALGORITHMS.replace(",", ""))
    known = {
        0x0000: server_name(b"a.example"),
        0x0010: alpn(b"h2"),
        0x000D: extension(13, struct.pack(">H", len(algorithms)) + algorithms),
        0x002B: VERSIONS,
    }
    types = [int(text, 16) for text in JA4_TYPES.split(",")]
    block = b"".join(known.get(kind) or extension(kind, b"") for kind in [0x0A0A, *types, 0x2A2A])
    ciphers = bytes.fromhex("1a1a" + JA4_CIPHERS.replace(",", ""))
    found = parse_client_hello(records(message(body(block, ciphers))))
    assert found is not None
    assert found.ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("name", "mark"), [(b"h2", "h2"), (b"a", "aa"), (b"0/", "3f"), (b"\x0a\x0a", "0a"), (b"\xba\xad", "99")]
)
def test_ja4_marks_the_first_protocol(name: bytes, mark: str) -> None:
    found = parse_client_hello(hello(alpn(name, b"http/1.1")))
    assert found is not None
    assert found.ja4.startswith(f"t12i1501{mark}_")


def test_ja4_of_a_hello_with_nothing_in_it() -> None:
    found = parse_client_hello(records(message(body(None, ciphers=b"\x0a\x0a"))))
    assert found is not None
    assert found.ja4 == "t12i000000_000000000000_000000000000"


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(link type, frame) of a pcap or pcapng file in either byte order."""
    magic = data[:4]
    if magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
        order = "<" if magic[0] in (0xD4, 0x4D) else ">"
        link, at = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF, 24
        while at < len(data):
            size = struct.unpack_from(order + "I", data, at + 8)[0]
            yield link, data[at + 16 : at + 16 + size]
            at += 16 + size
        return
    links: list[int] = []
    order, at = "<", 0
    while at < len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order, links = ("<" if data[at + 8] == 0x4D else ">"), []
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind == 1:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == 6:
            interface, _, _, captured = struct.unpack_from(order + "IIII", data, at + 8)
            yield links[interface], data[at + 28 : at + 28 + captured]
        at += size


def segments(path: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """(source, source port, sequence number, payload) of every TCP segment; IPv4 or IPv6 without extension headers."""
    for link, frame in frames(path.read_bytes()):
        packet = frame[{1: 14, 0: 4, 101: 0, 113: 16}[link] :]
        if link == 1 and frame[12:14] == b"\x81\x00":
            packet = packet[4:]
        if packet[0] >> 4 == 4:
            protocol, source = packet[9], packet[12:16]
            tcp = packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4]) or None]
        else:
            protocol, source = packet[6], packet[8:24]
            tcp = packet[40 : 40 + int.from_bytes(packet[4:6])]
        if protocol == 6:
            yield (
                str(ip_address(source)),
                str(int.from_bytes(tcp[:2])),
                int.from_bytes(tcp[4:8]),
                tcp[(tcp[12] >> 4) * 4 :],
            )


@pytest.mark.skipif("FEIYU_VECTORS" not in os.environ, reason="FEIYU_VECTORS names no folder of public vectors")
def test_ja4_of_the_published_captures() -> None:
    folder = Path(os.environ["FEIYU_VECTORS"]) / "ja4"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    assert expected
    for entry in expected:
        mine = [s for s in segments(folder / entry["pcap"]) if s[:2] == (entry["src"], entry["srcport"]) and s[3]]
        ordered = {sequence: payload for _, _, sequence, payload in mine}
        found = parse_client_hello(b"".join(ordered[sequence] for sequence in sorted(ordered)))
        assert found is not None, entry
        assert (found.sni, found.ja4) == (entry["sni"], entry["ja4"]), entry
