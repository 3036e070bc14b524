"""Properties of canonical targets, over hosts made to look like addresses."""

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given, settings
from hypothesis import strategies as st

from whitelist.target import (
    Target,
    TargetError,
    host_header_matches,
    parse_absolute_uri,
    parse_authority,
    parse_host,
)

PORTS = st.integers(1, 65535)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda x: not x.startswith("xn--"))
INTERNATIONAL = st.sampled_from(["xn--fiqs8s", "xn--fa-hia", "xn--bcher-kva", "xn--fsqu00a", "xn--mgba3gch31f060k"])
NAMES = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(LABELS | INTERNATIONAL, min_size=1, max_size=5),
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda x: not x.startswith("xn--")),
)
# IPv4-mapped text differs between Python versions before it is canonical; those are tables in test_target.
IPV6 = st.ip_addresses(v=6).map(str).filter(lambda text: not text.startswith("::ffff:"))
TARGETS = (
    st.builds(Target, NAMES, PORTS, is_ip=st.just(value=False))
    | st.builds(Target, st.ip_addresses(v=4).map(str), PORTS, is_ip=st.just(value=True))
    | st.builds(Target, IPV6, PORTS, is_ip=st.just(value=True))
)


@given(TARGETS)
def test_canonical_target_parses_to_itself(target: Target) -> None:
    assert parse_authority(target.authority.encode()) == target
    assert parse_host(target.host, target.port) == target
    assert parse_absolute_uri(f"http://{target.authority}/x?y".encode()).target == target
    assert host_header_matches(target, "http", target.authority.encode())


@given(NAMES, PORTS)
def test_case_and_one_trailing_dot_do_not_matter(name: str, port: int) -> None:
    ordinary = parse_authority(f"{name}:{port}".encode())
    assert parse_authority(f"{name.upper()}:{port}".encode()) == ordinary
    assert parse_authority(f"{name}.:{port}".encode()) == ordinary


@given(st.text(max_size=40) | st.text("aAxXn-.。0１７ｆ:[]@%\u00ad\u200bßüK中", max_size=20), PORTS)
def test_what_is_accepted_is_canonical_from_then_on(text: str, port: int) -> None:
    try:
        target = parse_authority(f"{text}:{port}".encode(errors="surrogatepass"))
    except TargetError:
        return
    assert parse_authority(target.authority.encode("ascii")) == target
    assert target.host == target.host.lower()
    assert not target.host.endswith(".")


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b"http://" + b))
def test_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    for parse in (parse_authority, parse_absolute_uri):
        with contextlib.suppress(TargetError):
            parse(raw)
    assert host_header_matches(Target("a.example", 80, is_ip=False), "http", raw) in (True, False)


def _parts(value: int, parts: int) -> list[int]:
    """An IPv4 value as inet_aton's one to four parts: the last takes all remaining bits."""
    head = [value >> (24 - 8 * i) & 255 for i in range(parts - 1)]
    return [*head, value & ((1 << (8 * (5 - parts))) - 1)]


@st.composite
def _spellings(draw: st.DrawFn) -> str:
    """Any way to write an IPv4 address that some resolver understands, the canonical one among them."""
    parts = _parts(draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 4)))
    base = st.sampled_from(["{}", "0{:o}", "00{:o}", "0x{:x}", "0X{:X}", "0x0{:x}"])
    dot = draw(st.sampled_from([".", ".", ".", "。", "．", "｡"]))
    text = dot.join(draw(base).format(part) for part in parts) + draw(st.sampled_from(["", "", "", ".", "。"]))
    wide = str.maketrans("0123456789abcdef", "０１２３４５６７８９ａｂｃｄｅｆ")
    return draw(st.sampled_from([text, text, text.translate(wide)]))


def _read_as_address(host: str) -> str | None:
    """How the C library would read a host without asking a name server."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        pass
    try:
        return str(socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4][0])
    except (OSError, UnicodeError):
        return None


@given(_spellings())
@example("127.1")
@example("0x7f000001")
@example("2130706433")
def test_spelling_of_an_ipv4_address_is_canonical_or_refused(text: str) -> None:
    try:
        target = parse_authority(f"{text}:80".encode())
    except TargetError:
        return
    assert target.is_ip
    assert target.host == text == str(IPv4Address(text)) == _read_as_address(text)


@settings(max_examples=300)
@given(
    st.text("0123456789abcdefxX.-:", min_size=1, max_size=16)
    | st.from_regex(r"[0-9a-fx.]{1,6}\.[0-9a-fx]{1,4}", fullmatch=True)
    | NAMES
)
def test_accepted_name_is_no_address_to_the_c_library(text: str) -> None:
    try:
        target = parse_host(text, 80, single_label=True)
    except TargetError:
        return
    assert (_read_as_address(target.host) is not None) == target.is_ip


@given(st.ip_addresses(v=6), st.booleans(), st.integers(0, 2))
def test_spelling_of_an_ipv6_address_is_canonical_or_refused(address: IPv6Address, upper: bool, style: int) -> None:
    text = [address.compressed, address.exploded, f"{int(address):032x}"][style]
    text = text.upper() if upper else text
    canonical = socket.inet_ntop(socket.AF_INET6, address.packed)
    try:
        target = parse_authority(f"[{text}]:80".encode())
    except TargetError:
        assert text != canonical or "." in canonical
        return
    assert target == Target(text, 80, is_ip=True)
    assert int(IPv6Address(target.host)) == int(address)
    assert text == canonical
