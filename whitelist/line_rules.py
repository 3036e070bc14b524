"""Whether the ledger entry of a line is right in itself, beyond its addresses and encapsulation: customer file,
resolvers, probes and shares. Each fault as (field, message in plain words, with the remedy)."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from urllib.parse import urlsplit

from whitelist.model import CustomerFile, Grant, Line, LineShare
from whitelist.name import canonical_name
from whitelist.target import TargetError

Errors = list[tuple[str, str]]

MAX_RATE = 100_000_000  # kbit/s: 100 Gbit/s
MAX_SHARE = 250  # numbers of shares on one line; the rest of a class's byte is the line's own
MAX_HEADCOUNT = 10_000_000
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # a source only, of machines without address (RFC 1122 clause 3.2.1.3)
_CREDIT_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_KIND = re.compile(r"[a-z][a-z0-9-]{0,39}").fullmatch
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}").fullmatch


def resolver_fault(text: str) -> str:
    """What is wrong with ADDRESS or tls://ADDRESS#NAME (RFC 7858), or nothing. Behind tls:// an IPv6 address stands in
    brackets (RFC 3986 clause 3.2.2)."""
    if not text.startswith("tls://"):
        return machine_fault(text)
    host, mark, name = text.removeprefix("tls://").partition("#")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
    if _address(bare) is None:
        return "is no IP address; give tls://ADDRESS#NAME"
    try:
        canonical = canonical_name(name) if mark else ""
    except TargetError:
        canonical = ""
    if not canonical:
        return "needs tls://ADDRESS#NAME, with the name in its certificate"
    return _spelling(text, f"tls://{_host(bare)}#{canonical}") or machine_fault(bare)


def address_fault(text: str, family: int = 0) -> str:
    """What is wrong with an address, or nothing. family: 4 or 6, 0 for either."""
    address = _address(text)
    if address is None:
        return f"is no IP{f'v{family}' if family else ''} address"
    if family and address.version != family:
        return f"needs an IPv{family} address"
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return f"is IPv4 in IPv6's form; give {'an IPv6 address' if family else address.ipv4_mapped}"
    return _spelling(text, str(address).partition("%")[0])


def machine_fault(text: str, family: int = 0, *, hop: bool = False) -> str:
    """What is wrong with the address of one machine (ours, a resolver, a probe's target, a segment), or nothing. hop: a
    next hop, which alone may be link-local, in IPv6 only: there every router has such an address (RFC 4861)."""
    if fault := address_fault(text, family):
        return fault
    address = ip_address(text)
    # 240.0.0.0/4 has the broadcast address in it; of IPv6, is_reserved would be segment identifiers too (RFC 9602)
    nobody = isinstance(address, IPv4Address) and (address.is_reserved or address in _THIS_NETWORK)
    if nobody or address.is_unspecified or address.is_loopback or address.is_multicast:
        return "is no address of one machine on a network; give a unicast address"
    if address.is_link_local and not (hop and address.version == 6):
        return "is link-local, so it does not lead beyond the link; give a routed address"
    return ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _host(text: str) -> str:
    """An address as it stands in a URL, canonical and without zone."""
    canonical = str(ip_address(text)).partition("%")[0]
    return f"[{canonical}]" if ":" in canonical else canonical


def _spelling(text: str, canonical: str) -> str:
    return "" if text == canonical else f"is not in its canonical form; write {canonical}"


def probe_fault(text: str) -> str:
    """What is wrong with tcp://ADDRESS:PORT or http://ADDRESS[:PORT]/PATH, or nothing."""
    wanted = "needs tcp://ADDRESS:PORT or http://ADDRESS[:PORT]/PATH"
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        return wanted
    plain = text.isascii() and text.isprintable() and " " not in text and "@" not in url.netloc
    if not plain or url.query or url.fragment or "?" in text or "#" in text or url.scheme not in ("tcp", "http"):
        return wanted
    if (url.scheme == "tcp" and (port is None or url.path)) or (url.scheme == "http" and not url.path) or port == 0:
        return wanted
    if _address(host) is None:
        return f"is no IP address; {wanted}"
    canonical = f"{url.scheme}://{_host(host)}{'' if port is None else f':{port}'}{url.path}"
    return _spelling(text, canonical) or machine_fault(host)


def credit_code_fault(code: str) -> str:
    """What is wrong with a unified social credit code, or nothing; it may be empty. The last of the 18 characters is
    the check character of the others (GB 32100-2015 4.1.5)."""
    fault = "is not 18 characters with a right check character (GB 32100-2015); copy it again"
    if not code:
        return ""
    if len(code) != 18 or any(character not in _CREDIT_DIGITS for character in code):
        return fault
    total = sum(_CREDIT_DIGITS.index(character) * pow(3, n, 31) for n, character in enumerate(code[:17]))
    return "" if _CREDIT_DIGITS.index(code[17]) == -total % 31 else fault


def customer_faults(file: CustomerFile) -> Errors:
    """The customer file's numbers."""
    errors: Errors = []
    if fault := credit_code_fault(file.credit_code):
        errors.append(("customer.credit_code", fault))
    if not 0 <= file.headcount <= MAX_HEADCOUNT:
        errors.append(("customer.headcount", f"needs 0 to {MAX_HEADCOUNT}"))
    return errors


def share_faults(line: Line) -> Errors:
    """Shares of tenants: each tenant and number once, sources of the line's families, rates that fit into the line."""
    errors: Errors = []
    tenants: set[str] = set()
    numbers: set[int] = set()
    for n, share in enumerate(line.shares):
        field = f"shares[{n}]"
        if not _ID(share.tenant) or share.tenant in tenants:
            errors.append((f"{field}.tenant", "needs a tenant's id, each once"))
        if not 1 <= share.number <= MAX_SHARE or share.number in numbers:
            errors.append((f"{field}.number", f"needs 1 to {MAX_SHARE}, each once on a line"))
        tenants.add(share.tenant)
        numbers.add(share.number)
        errors += _sources(field, line, share) + _rates(field, line, share)
    for name, total in (("up", sum(s.up for s in line.shares)), ("down", sum(s.down for s in line.shares))):
        rate: int = getattr(line, f"rate_{name}")
        if 0 < rate < total:
            message = f"guarantees of {total} kbit/s {name} are more than the line's {rate}; lower them"
            errors.append(("shares", message))
    return errors


def _sources(field: str, line: Line, share: LineShare) -> Errors:
    errors: Errors = []
    for family in (4, 6):
        name = f"source{family}"
        text: str = getattr(share, name)
        if not text:
            continue
        if fault := machine_fault(text, family):
            errors.append((f"{field}.{name}", fault))
        elif not getattr(line, name):
            errors.append((f"{field}.{name}", f"the line carries no IPv{family}"))
        elif text == getattr(line, f"gateway{family}"):
            errors.append((f"{field}.{name}", "is the line's gateway; give an address of our own"))
    return errors


def _rates(field: str, line: Line, share: LineShare) -> Errors:
    errors: Errors = []
    for name in ("up", "down"):
        rate, ceiling, most = getattr(share, name), getattr(share, f"{name}_ceiling"), getattr(line, f"rate_{name}")
        if not 0 <= rate <= MAX_RATE or not 0 <= ceiling <= MAX_RATE:
            errors.append((f"{field}.{name}", f"needs 0 to {MAX_RATE} kbit/s"))
        elif (rate or ceiling) and not most:
            errors.append((f"{field}.{name}", f"the line is not shaped; give it a rate_{name} first"))
        elif ceiling and rate > ceiling:
            errors.append((f"{field}.{name}_ceiling", "is below the guarantee"))
        elif ceiling > most:
            errors.append((f"{field}.{name}_ceiling", f"is more than the line's {most} kbit/s; lower it"))
    return errors


def ledger_faults(line: Line) -> Errors:
    """Bandwidth, rates, attachments, resolvers and probes."""
    errors: Errors = [
        (name, f"needs 0 to {MAX_RATE} kbit/s")
        for name in ("bandwidth", "rate_up", "rate_down")
        if not 0 <= getattr(line, name) <= MAX_RATE
    ]
    for n, attachment in enumerate(line.attachments):
        if not _KIND(attachment.kind):
            errors.append((f"attachments[{n}].kind", "needs a word such as agreement, authorisation or commitment"))
        if not _SHA256(attachment.sha256):
            errors.append((f"attachments[{n}].sha256", "needs the document's SHA-256 in 64 lower-case hex digits"))
    errors += [(f"resolvers[{n}]", f) for n, text in enumerate(line.resolvers) if (f := resolver_fault(text))]
    return errors + [(f"probes[{n}]", f) for n, text in enumerate(line.probes) if (f := probe_fault(text))]


def weight_faults(grant: Grant) -> Errors:
    """Weights of a grant's lines: one for each, or none."""
    weights = grant.line_weights
    if weights and (len(weights) != len(grant.lines) or any(not 1 <= weight <= 1000 for weight in weights)):
        return [("line_weights", "needs one number from 1 to 1000 for each line, or none at all")]
    return []
