"""Which addresses may be dialled: embedded IPv4 is unwrapped first, then the registries speak."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, NoReturn, Self, final

from whitelist.ip_text import format_v4, format_v6, parse_v4, parse_v6
from whitelist.reason import Reason
from whitelist.special_purpose import Reach, block_of

_LOW32 = 0xFFFFFFFF
# Forms that are a 96-bit prefix before the IPv4 address, by that prefix.
_PREFIX96 = {
    0: "ipv4-compatible",  # RFC 4291 2.5.5.1
    0xFFFF: "ipv4-mapped",  # RFC 4291 2.5.5.2
    0xFFFF_0000: "ipv4-translated",  # RFC 2765 2.1
    0x0064_FF9B << 64: "nat64",  # RFC 6052 2.1
}


class Verdict(NamedTuple):
    """allowed: may be dialled without a special prefix; kind: the block that decided ("loopback", "nat64→private");
    address: canonical text, or what was given when it is no address (kind "not-an-address")."""

    allowed: bool
    kind: str
    address: str


class AddressForbidden(Exception):  # noqa: N818 - a refusal, not an error
    """An address that may not be dialled. detail names address and kind; it is fit for a record."""

    def __init__(self, address: str, kind: str) -> None:
        super().__init__(f"{address} ({kind})")
        self.reason = Reason.ADDRESS_FORBIDDEN
        self.kind = kind
        self.detail = f"{address} ({kind})"


@final
class CheckedAddress:
    """An address that passed check(); the only kind that can be dialled. text: canonical; family: 4 or 6. Immutable."""

    __slots__ = ("family", "text")
    text: str
    family: int

    def __new__(cls, *_: object, **__: object) -> Self:
        """Always TypeError."""
        raise TypeError("only whitelist.address.check() makes a CheckedAddress")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"CheckedAddress is immutable: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"CheckedAddress is immutable: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a CheckedAddress cannot be stored or copied: check the address again")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CheckedAddress) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"CheckedAddress({self.text})"


def _seal(text: str, family: int) -> CheckedAddress:
    """What check() hands out; past the guards of the class, through the slots themselves."""
    checked = object.__new__(CheckedAddress)
    _set_text(checked, text)
    _set_family(checked, family)
    return checked


_set_text = CheckedAddress.__dict__["text"].__set__
_set_family = CheckedAddress.__dict__["family"].__set__


def embedded(value: int) -> list[tuple[str, int]]:
    """Every IPv4 address that an IPv6 address (as integer) carries: (form, IPv4 value)."""
    found: list[tuple[str, int]] = []
    prefix96 = value >> 32
    if prefix96 in _PREFIX96 and value > 1:  # :: and ::1 are addresses of their own
        found.append((_PREFIX96[prefix96], value & _LOW32))
    elif value >> 112 == 0x2002:  # RFC 3056 2
        found.append(("6to4", value >> 80 & _LOW32))
    elif value >> 96 == 0x2001_0000:  # RFC 4380 4: the server, then the client with all bits inverted
        found += (("teredo", value >> 64 & _LOW32), ("teredo", ~value & _LOW32))
    if value >> 32 & 0xFCFF_FFFF == 0x5EFE:  # RFC 5214 6.1, whatever the u and g bits say
        found.append(("isatap", value & _LOW32))
    return found


def classify(address: str | IPv4Address | IPv6Address) -> Verdict:
    """What an address is, and whether it is an ordinary destination. Never raises."""
    read = _read(address)
    if read is None:
        return Verdict(allowed=False, kind="not-an-address", address=str(address))
    family, value, text = read
    if family == 6:
        for form, inner in embedded(value):
            block = block_of(4, inner)
            if block.reach is not Reach.OPEN:
                return Verdict(allowed=False, kind=f"{form}→{block.kind}", address=text)
    block = block_of(family, value)
    return Verdict(block.reach is Reach.OPEN, block.kind, text)


def check(
    address: str | IPv4Address | IPv6Address,
    special_prefixes: Iterable[str] = (),
    own_addresses: Iterable[str] = (),
) -> CheckedAddress:
    """The address, fit to be dialled. Raises AddressForbidden, and nothing else.

    special_prefixes (CIDR text, host bits zero) let through what the registries hold back, for each embedded IPv4
    address too, but never what is marked NEVER. own_addresses (the gateway's, as text) are forbidden whatever covers
    them. Pass a tuple and a frozenset: they are parsed once.
    """
    read = _read(address)
    if read is None:
        raise AddressForbidden(str(address)[:64], "not-an-address")
    family, value, text = read
    forms = embedded(value) if family == 6 else ()
    try:
        if own_addresses:
            own = _own_values(frozenset(own_addresses))
            if (family, value) in own or any((4, inner) in own for _, inner in forms):
                raise AddressForbidden(text, "own-address")
        for form, inner in forms:
            _demand(text, 4, inner, form + "→", special_prefixes)
        _demand(text, family, value, "", special_prefixes)
    except ValueError as error:  # an own address or special prefix that cannot be read must not open anything
        raise AddressForbidden(text, f"unreadable prefix: {error}") from error
    return _seal(text, family)


def _demand(text: str, family: int, value: int, via: str, special_prefixes: Iterable[str]) -> None:
    block = block_of(family, value)
    if block.reach is Reach.OPEN:
        return
    if block.reach is Reach.SPECIAL:
        for version, network, shift in _prefixes(tuple(special_prefixes)):
            if version == family and value >> shift == network:
                return
    raise AddressForbidden(text, via + block.kind)


def _read(address: str | IPv4Address | IPv6Address) -> tuple[int, int, str] | None:
    """Family, value, canonical text; None for what is no address (IPv6 zones included: they name an interface)."""
    if isinstance(address, IPv4Address):
        return 4, int(address), format_v4(int(address))
    if isinstance(address, IPv6Address):
        return None if address.scope_id is not None else (6, int(address), format_v6(int(address)))
    if ":" in address:
        value = parse_v6(address)
        return None if value is None else (6, value, format_v6(value))
    value = parse_v4(address)
    return None if value is None else (4, value, address)


@lru_cache(maxsize=4096)
def _prefixes(texts: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """(family, network value without host bits, number of host bits) of each prefix; ValueError if one is malformed."""
    networks = [ip_network(text) for text in texts]
    shifts = [network.max_prefixlen - network.prefixlen for network in networks]
    return tuple((n.version, int(n.network_address) >> shift, shift) for n, shift in zip(networks, shifts, strict=True))


@lru_cache(maxsize=64)
def _own_values(texts: frozenset[str]) -> frozenset[tuple[int, int]]:
    """(family, value) of each address; ValueError if one is malformed."""
    return frozenset((a.version, int(a)) for a in map(ip_address, texts))
