"""The PROXY protocol: which headers are read and how, what is refused, and that header and head never run together."""

import itertools
import struct
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.handshake import HandshakeError
from gateway.handshake.connect import usual_connect
from gateway.handshake.http1 import parse_head
from gateway.handshake.proxy_protocol import MAX_ROOM, SIGNATURE, Preamble, crc32c, parse_preamble
from gateway.handshake.socks5 import Conversation
from whitelist.ip_text import format_v6
from whitelist.reason import Reason

HEAD = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
ADDRESSES4 = bytes((10, 0, 0, 2, 10, 0, 0, 1)) + struct.pack("!HH", 4711, 3128)
SOURCE6 = b"\xfd\x00\x00\x01" + bytes(11) + b"\x0a"
ADDRESSES6 = SOURCE6 + bytes(16) + struct.pack("!HH", 4711, 3128)
MAPPED6 = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2)) + bytes(16) + struct.pack("!HH", 4711, 3128)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def binary(room: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(room)) + room


def checked(room: bytes, behind: bytes = b"", family: int = 0x11) -> bytes:
    """With a right checksum between the room and other TLVs."""
    blank = binary(room + tlv(3, bytes(4)) + behind, family)
    at = len(blank) - len(behind) - 4
    return blank[:at] + crc32c(blank).to_bytes(4) + blank[at + 4 :]


ACME = ("10.0.0.2", 4711)
SIX = ("fd00:1::a", 4711)

READ = {
    "version 1, IPv4": (b"PROXY TCP4 10.0.0.2 10.0.0.1 4711 3128\r\n", ACME),
    "version 1, IPv6": (b"PROXY TCP6 fd00:1::a fd00:1::1 4711 3128\r\n", SIX),
    "version 1, a mapped address": (b"PROXY TCP6 ::ffff:10.0.0.2 ::ffff:10.0.0.1 4711 3128\r\n", ACME),
    "version 1, port zero": (b"PROXY TCP4 10.0.0.2 10.0.0.1 0 0\r\n", ("10.0.0.2", 0)),
    "version 1, the longest line": (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b":".join([b"1234"] * 8),) * 2), (":".join(["1234"] * 8), 65535)
    ),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "version 1, unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "version 2, IPv4": (binary(ADDRESSES4), ACME),
    "version 2, IPv6": (binary(ADDRESSES6, 0x21), SIX),
    "version 2, a mapped address": (binary(MAPPED6, 0x21), ACME),
    "version 2, unspecified": (binary(b"", 0x00), None),
    "version 2, unspecified with a TLV": (binary(tlv(4, bytes(9)), 0x00), None),
    "version 2, local": (binary(b"", 0x00, 0x20), "local"),
    "version 2, local of whatever family": (binary(b"\xff" * 9, 0x31, 0x20), "local"),
    "version 2 with TLVs": (binary(ADDRESSES4 + tlv(1, b"h2") + tlv(2, b"a.example") + tlv(5, b"x" * 128)), ACME),
    "version 2 with an empty TLV": (binary(ADDRESSES4 + tlv(4, b"")), ACME),
    "version 2 with a checksum": (checked(ADDRESSES4), ACME),
    "version 2 with a checksum among TLVs": (checked(ADDRESSES6 + tlv(1, b"h2"), tlv(4, b"pad"), 0x21), SIX),
    "version 2 as long as it may be": (binary(ADDRESSES4 + tlv(4, bytes(MAX_ROOM - 15))), ACME),
}  # fmt: skip


class Refusal(NamedTuple):
    reason: Reason
    detail: str


def outcome(data: bytes) -> Preamble | Refusal | None:
    try:
        return parse_preamble(data)
    except HandshakeError as error:
        return Refusal(error.reason, error.detail)


def expected(data: bytes, source: object) -> Preamble:
    if source == "local":
        return Preamble(len(data), local=True, source=None)
    assert source is None or isinstance(source, tuple)
    return Preamble(len(data), local=False, source=source)


@pytest.mark.parametrize("case", READ)
def test_a_header_is_read_however_it_arrives_and_ends_where_it_ends(case: str) -> None:
    data, source = READ[case]
    for length in range(len(data)):
        assert parse_preamble(data[:length]) is None, length
    for behind in (b"", HEAD, data, b"\r\n", b"\x00", b"\x05\x01\x02"):
        assert parse_preamble(data + behind) == expected(data, source)


V1, V2, TLV = b"PROXY TCP4 10.0.0.2 10.0.0.1 4711 3128\r\n", binary(ADDRESSES4), tlv(1, b"h2")

REFUSED = {
    "no header": (HEAD, "demands"),
    "a SOCKS greeting": (b"\x05\x01\x02", "demands"),
    "an empty line before it": (b"\r\n" + V1, "demands"),
    "a space before it": (b" " + V1, "demands"),
    "lower case": (b"proxy TCP4 10.0.0.2 10.0.0.1 1 2\r\n", "demands"),
    "a tab": (V1.replace(b" 10.0.0.1", b"\t10.0.0.1"), "two addresses"),
    "two spaces": (V1.replace(b"TCP4 ", b"TCP4  "), "two addresses"),
    "a space at its end": (V1.replace(b"\r\n", b" \r\n"), "two addresses"),
    "a bare LF": (V1.replace(b"\r\n", b"\n"), "two addresses"),
    "a bare CR": (V1.replace(b"\r\n", b"\r") + HEAD, "two addresses"),
    "two CRs": (V1.replace(b"\r\n", b"\r\r\n"), "two addresses"),
    "a NUL": (V1.replace(b"\r\n", b"\0\r\n"), "two addresses"),
    "a header in the middle of an unknown one": (b"PROXY UNKNOWN\n" + V1, "two addresses"),
    "a CR in an unknown one": (b"PROXY UNKNOWN a\rb\r\n", "two addresses"),
    "unknown with a word at its end": (b"PROXY UNKNOWNTCP4\r\n", "two addresses"),
    "UDP": (V1.replace(b"TCP4", b"UDP4"), "two addresses"),
    "a family without number": (V1.replace(b"TCP4", b"TCP"), "two addresses"),
    "an IPv6 address under TCP4": (b"PROXY TCP4 fd00::1 fd00::2 1 2\r\n", "canonical"),
    "an IPv4 address under TCP6": (b"PROXY TCP6 10.0.0.2 10.0.0.1 1 2\r\n", "canonical"),
    "an address with a leading zero": (V1.replace(b"10.0.0.2", b"10.0.0.02"), "canonical"),
    "a short address": (V1.replace(b"10.0.0.2", b"10.2"), "canonical"),
    "the other address in octal": (V1.replace(b"10.0.0.1", b"012.0.0.1"), "canonical"),
    "an IPv6 address written long": (b"PROXY TCP6 fd00:0::1 fd00::2 1 2\r\n", "canonical"),
    "an IPv6 address in capitals": (b"PROXY TCP6 FD00::1 fd00::2 1 2\r\n", "two addresses"),
    "an IPv6 address with a zone": (b"PROXY TCP6 fe80::1%eth0 fd00::2 1 2\r\n", "two addresses"),
    "a port with a leading zero": (V1.replace(b"4711", b"04711"), "two addresses"),
    "a port with a sign": (V1.replace(b"4711", b"+4711"), "two addresses"),
    "a port beyond the last": (V1.replace(b"4711", b"65536"), "65535"),
    "a negative port": (V1.replace(b"4711", b"-1"), "two addresses"),
    "one port": (V1.replace(b" 3128", b""), "two addresses"),
    "a third port": (V1.replace(b"3128", b"3128 1"), "two addresses"),
    "a line without end": (b"PROXY UNKNOWN " + b"x" * 93, "107"),
    "a line of 108 bytes": (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "107"),
    "another version": (V2[:12] + b"\x31" + V2[13:], "version"),
    "version 1 in binary": (V2[:12] + b"\x11" + V2[13:], "version"),
    "a command that there is not": (V2[:12] + b"\x22" + V2[13:], "command"),
    "UDP in binary": (binary(ADDRESSES4, 0x12), "TCP"),
    "a unix socket": (binary(bytes(216), 0x31), "TCP"),
    "a family that there is not": (binary(ADDRESSES4, 0x41), "TCP"),
    "a family without protocol": (binary(ADDRESSES4, 0x10), "TCP"),
    "less room than the addresses need": (binary(ADDRESSES4[:-1]), "less room"),
    "IPv4 addresses as IPv6": (binary(ADDRESSES4, 0x21), "less room"),
    "more room than there may be": (V2[:14] + struct.pack("!H", MAX_ROOM + 1), "2048"),
    "all the room that can be said": (V2[:14] + b"\xff\xff", "2048"),
    "a local one with more room than there may be": (binary(bytes(MAX_ROOM + 1), 0, 0x20), "2048"),
    "half a TLV": (binary(ADDRESSES4 + TLV[:2]), "cut off"),
    "a TLV longer than its room": (binary(ADDRESSES4 + TLV[:-1]), "longer"),
    "a TLV that reaches into the head": (binary(ADDRESSES4 + b"\x04\x00\xff") + HEAD * 9, "longer"),
    "a wrong checksum": (binary(ADDRESSES4 + tlv(3, b"\1\2\3\4")), "checksum"),
    "another address than was summed": (checked(ADDRESSES4).replace(b"\x0a\0\0\2", b"\x0a\0\0\3"), "checksum"),
    "a checksum in the other byte order": (
        checked(ADDRESSES4)[:-4] + checked(ADDRESSES4)[-4:][::-1], "checksum"
    ),
    "a checksum of three bytes": (binary(ADDRESSES4 + tlv(3, bytes(3))), "checksum"),
    "two checksums": (checked(ADDRESSES4 + tlv(3, bytes(4))), "checksum"),
    "a signature that breaks off": (SIGNATURE[:-1] + b"\r\n", "demands"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_two_readings_is_refused_however_it_arrives(case: str) -> None:
    data, words = REFUSED[case]
    outcomes = [outcome(data[:length]) for length in range(len(data) + 1)]
    settled = list(itertools.dropwhile(lambda found: found is None, outcomes))
    assert len(set(settled)) == 1  # never read as something else on the way there
    assert isinstance(settled[0], Refusal)
    assert settled[0].reason is Reason.MALFORMED_REQUEST
    assert words in settled[0].detail


@pytest.mark.parametrize("header", [V1, V2, b"PROXY UNKNOWN\r\n", checked(ADDRESSES4)])
def test_a_header_where_none_is_expected_is_no_request(header: bytes) -> None:
    assert usual_connect(header + HEAD, 16_384) is None
    with pytest.raises(HandshakeError) as caught:
        parse_head(header + HEAD)
    assert caught.value.reason is Reason.MALFORMED_REQUEST
    with pytest.raises(HandshakeError):
        Conversation(login=True).read(header)


@pytest.mark.parametrize("first", [V1, V2])
@pytest.mark.parametrize("second", [V1, V2])
def test_a_second_header_behind_the_first_is_no_request(first: bytes, second: bytes) -> None:
    preamble = parse_preamble(first + second + HEAD)
    assert preamble is not None
    with pytest.raises(HandshakeError) as caught:
        parse_head((first + second + HEAD)[preamble.consumed :])
    assert caught.value.reason is Reason.MALFORMED_REQUEST


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32/ISCSI
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


_bytes16 = st.binary(min_size=16, max_size=16)
_ports = st.integers(0, 65535)


@given(_bytes16, _bytes16, _ports, _ports)
def test_what_a_balancer_writes_is_what_is_read(source: bytes, to: bytes, port: int, to_port: int) -> None:
    text, to_text = (format_v6(int.from_bytes(address)) for address in (source, to))
    one = parse_preamble(f"PROXY TCP6 {text} {to_text} {port} {to_port}\r\n".encode())
    two = parse_preamble(checked(source + to + struct.pack("!HH", port, to_port), family=0x21))
    assert one is not None
    assert two is not None
    assert one.source == two.source == (text.removeprefix("::ffff:") if "." in text else text, port)


_piece = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([V1, V2, SIGNATURE, HEAD, TLV, b"PROXY ", b"UNKNOWN", b"\r\n", b"\n", b" ", b"\x21\x11\x00\x0c",
                     b"TCP4 ", b"10.0.0.2 ", b"1 2", ADDRESSES4, b"\x20\x00\x00\x00"]),
)  # fmt: skip


@given(st.lists(_piece, max_size=8).map(b"".join))
def test_any_bytes_mean_one_thing_only_and_more_bytes_do_not_change_it(data: bytes) -> None:
    outcomes = [outcome(data[:length]) for length in range(len(data) + 1)]
    settled = list(itertools.dropwhile(lambda found: found is None, outcomes))
    assert len(set(settled)) <= 1
    if settled and isinstance(settled[0], Preamble):
        assert settled[0].consumed == outcomes.index(settled[0])
    if len(data) >= MAX_ROOM + 16:
        assert settled
