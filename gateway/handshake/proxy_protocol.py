"""The PROXY protocol's header, versions 1 and 2: where a connection that a balancer passes on came from.

Source: HAProxy's proxy-protocol.txt, of whose readings the strict one is taken: canonical addresses and ports in
version 1, and in version 2 TLVs that fill their room exactly, with a checksum that is right where there is one. The
header is the first thing on the connection and is of one piece; what stands behind it is the client's.
"""

import re
from typing import NamedTuple

from gateway.handshake import malformed
from whitelist.ip_text import format_v4, format_v6, parse_v4, parse_v6

MAX_LINE = 107  # bytes of a version 1 header, CR LF included (clause 2.1)
MAX_ROOM = 2_048  # bytes behind the fixed part of a version 2 header
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16
MAX_HEADER = _FIXED + MAX_ROOM
_START = b"PROXY "
_PORT = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9a-f:.]{2,39}) ([0-9a-f:.]{2,39}) " + _PORT + b" " + _PORT + rb"\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and the command (clause 2.2)
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21  # address family and transport protocol
_WIDTH = {_UNSPEC: 0, _TCP4: 4, _TCP6: 16}
_CRC32C = 0x03  # PP2_TYPE_CRC32C (clause 2.2.3)
_MAPPED = 0xFFFF  # the upper 96 bits of an IPv4-mapped address


class Preamble(NamedTuple):
    """A whole header. consumed: its bytes; local: the balancer speaks for itself, so that its own address counts;
    source: address (canonical text, IPv4 where it is mapped) and port that it names, or None where it names none."""

    consumed: int
    local: bool
    source: tuple[str, int] | None


def parse_preamble(buffer: bytes) -> Preamble | None:
    """The header at the start of the buffer; None when more bytes are needed. Raises HandshakeError
    (malformed-request)."""
    if _START.startswith(buffer[: len(_START)]):
        return _version_1(buffer)
    if SIGNATURE.startswith(buffer[: len(SIGNATURE)]):
        return _version_2(buffer) if len(buffer) >= _FIXED else None
    raise malformed("no PROXY protocol header, which this listener demands")


def _version_1(buffer: bytes) -> Preamble | None:
    end = buffer.find(b"\n", 0, MAX_LINE) + 1
    if not end:
        if len(buffer) >= MAX_LINE:
            raise malformed(f"a PROXY header of more than {MAX_LINE} bytes")
        return None
    line = buffer[:end]
    if _UNKNOWN.fullmatch(line):
        return Preamble(end, local=False, source=None)
    words = _LINE.fullmatch(line)
    if words is None:
        raise malformed("a PROXY header that is not protocol, two addresses and two ports")
    version, *addresses = words.group(1, 2, 3)
    source, _ = (_address_text(version, str(address, "ascii")) for address in addresses)
    ports = int(words[4]), int(words[5])
    if max(ports) > 0xFFFF:
        raise malformed("a port beyond 65535 in the PROXY header")
    return Preamble(end, local=False, source=(source, ports[0]))


def _address_text(version: bytes, text: str) -> str:
    if version == b"4":
        if parse_v4(text) is not None:
            return text
    elif (value := parse_v6(text)) is not None and format_v6(value) == text:
        return _unmapped(value)
    raise malformed("an address in the PROXY header that is not in the canonical spelling of its family")


def _unmapped(value: int) -> str:
    """An IPv4 client of a balancer's IPv6 socket is the IPv4 client."""
    return format_v4(value & 0xFFFFFFFF) if value >> 32 == _MAPPED else format_v6(value)


def _version_2(buffer: bytes) -> Preamble | None:
    command, family = buffer[12], buffer[13]
    room = int.from_bytes(buffer[14:_FIXED])
    if command not in (_LOCAL, _PROXY):
        raise malformed("a PROXY header of another version than 2, or with a command that there is not")
    if room > MAX_ROOM:
        raise malformed(f"a PROXY header with more than {MAX_ROOM} bytes behind its fixed part")
    width = _WIDTH.get(family)
    if command == _PROXY and width is None:
        raise malformed("a PROXY header of something else than a TCP connection")
    end = _FIXED + room
    if len(buffer) < end:
        return None
    if command == _LOCAL or width is None:
        return Preamble(end, local=True, source=None)  # what else it says is to be thrown away (clause 2.2)
    behind = _FIXED + 2 * width + (4 if width else 0)
    if behind > end:
        raise malformed("a PROXY header with less room than its addresses need")
    _check_tlvs(buffer[:end], behind)
    if not width:
        return Preamble(end, local=False, source=None)
    value = int.from_bytes(buffer[_FIXED : _FIXED + width])
    port = int.from_bytes(buffer[_FIXED + 2 * width : _FIXED + 2 * width + 2])
    return Preamble(end, local=False, source=(format_v4(value) if width == 4 else _unmapped(value), port))


def _check_tlvs(header: bytes, at: int) -> None:
    """They fill the header from there on exactly; the one with the checksum is right, the others are as they may be."""
    seen = False
    while at < len(header):
        if at + 3 > len(header):
            raise malformed("a TLV in the PROXY header that is cut off")
        kind, start = header[at], at + 3
        at = start + int.from_bytes(header[at + 1 : start])
        if at > len(header):
            raise malformed("a TLV in the PROXY header that is longer than its room")
        if kind == _CRC32C:
            if seen or at - start != 4:
                raise malformed("more than one checksum in the PROXY header, or one that is not of four bytes")
            seen = True
            if crc32c(header[:start] + bytes(4) + header[at:]) != int.from_bytes(header[start:at]):
                raise malformed("the checksum of the PROXY header is wrong")


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901 - the register that is shifted
        entries.append(value)
    return tuple(entries)


_CRC_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), RFC 3720 clause 12.1, of a header's few bytes: about 60 ns each."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC_TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
