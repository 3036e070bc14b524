"""Whether an item of the register is right in itself: each fault as (field, message in plain words, with the remedy).

What an item refers to is checked where the register can be asked (whitelist.store).
"""

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network

from publicsuffixlist import PublicSuffixList

from tenants.model import Credential, Place, Side, Tenant
from whitelist import line_rules
from whitelist.device import device_fault
from whitelist.encapsulation import encapsulation_faults
from whitelist.inspection import inspect_faults
from whitelist.model import Category, DataGrade, Deny, Endpoint, Grant, Group, Line, Protocol, Service, Srv6, Window
from whitelist.name import canonical_name
from whitelist.target import TargetError, parse_host

Errors = list[tuple[str, str]]

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}").fullmatch
_COUNTRY = re.compile(r"[A-Z]{2}").fullmatch  # ISO 3166-1 alpha-2
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_SERIAL = re.compile(r"[0-9a-f]{1,40}").fullmatch  # at most 20 octets (RFC 5280 clause 4.1.2.2)
MAX_TEXT = 200
MAX_TIME = 1 << 40  # Unix seconds; what is further off is a mistake (milliseconds)
MAX_ENDPOINTS, MAX_PLACES, MAX_NAMES, MAX_PORTS = 1000, 64, 64, 256


def validate_tenant(tenant: Tenant) -> Errors:
    """A firm: its name, term, places (all offshore, R4) and groups."""
    errors = _texts(name=tenant.name, name_zh=tenant.name_zh) + _term(tenant.valid_from, tenant.valid_until)
    if not tenant.name.strip():
        errors.append(("name", "is empty; give the firm's name"))
    if fault := line_rules.credit_code_fault(tenant.credit_code):
        errors.append(("credit_code", fault))
    if not 0 <= tenant.max_tunnels <= 1_000_000:
        errors.append(("max_tunnels", "needs 0 (the node's default) to 1000000"))
    if not 0 <= tenant.tunnels_per_second <= 1_000_000:
        errors.append(("tunnels_per_second", "needs 0 (no limit) to 1000000"))
    for name in ("bytes_per_day", "bytes_per_month"):
        if not 0 <= getattr(tenant, name) < 1 << 53:
            errors.append((name, "needs 0 (no quota) to 9007199254740991 bytes"))
    if (consent := tenant.consent) is not None:
        errors += _texts(**{"consent.signatory": consent.signatory})
        errors += _time("consent.date", consent.date) + _time("consent.until", consent.until)
        if consent.until <= consent.date:
            errors.append(("consent.until", "is not after date; the end must come after the beginning"))
        if not consent.signatory.strip():
            errors.append(("consent.signatory", "is empty; say who signed"))
        if not _SHA256(consent.document_sha256):
            errors.append(("consent.document_sha256", "needs the document's SHA-256 in 64 lower-case hex digits"))
    errors += _too_many("places", tenant.places, MAX_PLACES) + _names("groups", tenant.groups)
    for n, place in enumerate(tenant.places[:MAX_PLACES]):
        errors += _place(f"places[{n}]", place)
    return errors


def validate_credential(credential: Credential) -> Errors:
    """A credential: of a tenant, with the digest of a token or of a certificate, and an end."""
    errors = _texts(user=credential.user)
    if not _ID(credential.tenant):
        errors.append(("tenant", "is no id; name the tenant"))
    if credential.certificate_sha256 or credential.serial:
        if not _SHA256(credential.certificate_sha256):
            errors.append(("certificate_sha256", "needs the certificate's SHA-256 in 64 lower-case hex digits"))
        if not _SERIAL(credential.serial):
            errors.append(("serial", "needs the certificate's serial number in 1 to 40 lower-case hex digits"))
        if credential.token_sha256:
            errors.append(("token_sha256", "a credential is a token or a certificate, never both"))
        if credential.invite:
            errors.append(("invite", "an invite is a token"))
    elif not _SHA256(credential.token_sha256):
        errors.append(("token_sha256", "needs the token's SHA-256 in 64 lower-case hex digits"))
    if credential.enrolment and not (credential.serial and _ID(credential.enrolment)):
        errors.append(("enrolment", "a certificate goes back to an invite by its id"))
    return errors + _time("valid_until", credential.valid_until)


def validate_group(group: Group) -> Errors:
    """A group: its name."""
    return _texts(name=group.name)


def validate_category(category: Category) -> Errors:
    """A category: its name."""
    return _texts(name=category.name)


def validate_service(service: Service) -> Errors:
    """A service: its endpoints, categories and special prefixes."""
    errors = _texts(name=service.name, name_zh=service.name_zh) + _names("categories", service.categories)
    if not service.name.strip():
        errors.append(("name", "is empty; give the service's name"))
    if not service.endpoints:
        errors.append(("endpoints", "is empty; a service needs at least one way to it"))
    errors += _too_many("endpoints", service.endpoints, MAX_ENDPOINTS)
    seen: set[Endpoint] = set()
    for n, endpoint in enumerate(service.endpoints[:MAX_ENDPOINTS]):
        errors += _endpoint(f"endpoints[{n}]", endpoint)
        if endpoint in seen:
            errors.append((f"endpoints[{n}]", "is there twice; remove one"))
        seen.add(endpoint)
    errors += _too_many("special_prefixes", service.special_prefixes, MAX_NAMES)
    for n, prefix in enumerate(service.special_prefixes[:MAX_NAMES]):
        errors += _prefix(f"special_prefixes[{n}]", prefix)
    return errors


def validate_grant(grant: Grant) -> Errors:
    """A grant: whom, what, over which lines, when, for what."""
    errors = _texts(purpose=grant.purpose)
    for field, value, kinds in (
        ("subject", grant.subject, ("tenant", "group")),
        ("object", grant.object, ("service", "category")),
    ):
        kind, _, name = value.partition(":")
        if kind not in kinds or not _ID(name):
            errors.append((field, f"needs {kinds[0]}:ID or {kinds[1]}:ID"))
    if not grant.lines:
        errors.append(("lines", "is empty; a grant needs at least one line, in order of preference"))
    errors += _names("lines", grant.lines)
    if not grant.purpose.strip():
        errors.append(("purpose", "is empty; say what the access is for"))
    if grant.data_grade is DataGrade.CORE:
        errors.append(
            ("data_grade", "is core; core data never leaves, so choose general or important, or grant nothing")
        )
    for field, country, optional in (
        ("origin_country", grant.origin_country, False),
        ("destination_country", grant.destination_country, True),
    ):
        if not (optional and not country) and not _COUNTRY(country):
            errors.append((field, "needs two capital letters (ISO 3166-1), such as SG"))
    if grant.inspect is not None:
        errors += inspect_faults(grant.inspect)
    return errors + line_rules.weight_faults(grant) + _window(grant.window)


def validate_deny(deny: Deny) -> Errors:
    """A global deny. It may cover a whole public suffix (*.zip): to forbid too much is safe."""
    return _texts(note=deny.note) + _target("target", deny.target) + _ports("ports", deny.ports)


def validate_line(line: Line) -> Errors:
    """A dedicated line: its ledger entry, device, addresses, shares and term."""
    texts = ("name", "carrier", "circuit", "purpose", "officer", "officer_contact")
    file = line.customer
    parties = ("name", "legal_representative", "officer", "contact", "licence", "scope")
    errors = _texts(**{name: getattr(line, name) for name in texts})
    errors += _texts(**{f"customer.{name}": getattr(file, name) for name in parties})
    errors += line_rules.customer_faults(file)
    errors += line_rules.ledger_faults(line) + encapsulation_faults(line) + line_rules.share_faults(line)
    for name, listed, most in (
        ("attachments", line.attachments, MAX_NAMES),
        ("probes", line.probes, 8),
        ("shares", line.shares, line_rules.MAX_SHARE),
    ):
        errors += _too_many(name, listed, most)
    if fault := device_fault(line.device):
        errors.append(("device", f"is no name of a network device: {fault}"))
    elif line.device == "lo":
        errors.append(("device", "is the loopback; name the device that leads to the line"))
    for family in (4, 6):
        fields = {f"{part}{family}": getattr(line, f"{part}{family}") for part in ("gateway", "source")}
        errors += [
            (field, fault)
            for field, text in fields.items()
            if text and (fault := line_rules.machine_fault(text, family, hop=field.startswith("gateway")))
        ]
        lacking = next((field for field, address in fields.items() if not address), "")
        if isinstance(line.encapsulation, Srv6) and lacking == f"gateway{family}":
            continue  # the segments lead the inner packets, not a next hop
        if len([address for address in fields.values() if address]) == 1:
            errors.append((lacking, f"is empty; IPv{family} needs gateway{family} and source{family}, or neither"))
        elif fields[f"source{family}"] and len(set(fields.values())) == 1:
            errors.append((f"source{family}", "is the gateway; give our own address on the line"))
    if not (line.source4 or line.source6):
        errors.append(("source4", "is empty, and source6 too; a line needs an address and a gateway of its own"))
    errors += _too_many("resolvers", line.resolvers, MAX_NAMES)
    errors += _time("valid_from", line.valid_from)
    if line.valid_until:
        errors += _term(line.valid_from, line.valid_until)
    return errors


def endpoint_faults(target: str, ports: tuple[int, ...], protocol: str) -> Errors:
    """What is wrong with one way to a service."""
    return _endpoint("endpoint", Endpoint(target=target, ports=ports, protocol=Protocol(protocol)))


def _endpoint(field: str, endpoint: Endpoint) -> Errors:
    errors = _target(f"{field}.target", endpoint.target) + _ports(f"{field}.ports", endpoint.ports)
    if not endpoint.ports:
        errors.append((f"{field}.ports", "is empty; name the ports"))
    if not errors and endpoint.target.startswith("*.") and _is_public_suffix(endpoint.target[2:]):
        suffix = endpoint.target[2:]
        message = f"covers everybody's names under the public suffix {suffix}; name the organisation: *.NAME.{suffix}"
        errors.append((f"{field}.target", message))
    return errors


def _target(field: str, target: str) -> Errors:
    """Exact host, *.host or IP prefix, in the one canonical spelling."""
    if "/" in target:
        return _prefix(field, target)
    name = target.removeprefix("*.")
    try:
        # Below a wildcard one label is enough: denies may cover *.zip.
        canonical = canonical_name(name, single_label=True) if name != target else parse_host(name, 443).host
    except TargetError as error:
        if not _is_address(name):
            return [(field, f"is no host name: {error.detail}; use api.example.com, *.example.com or 203.0.113.0/28")]
        canonical = ""
    if _is_address(name):
        length = 128 if ":" in name else 32
        return [(field, f"is an address; write it as a prefix: {name}/{length}")]
    if canonical != name:
        return [(field, f"is not in its canonical form; write {target.removesuffix(name)}{canonical}")]
    return []


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _prefix(field: str, prefix: str) -> Errors:
    try:
        network = ip_network(prefix, strict=False)
    except ValueError:
        return [(field, "is no IP prefix; use 203.0.113.0/28 or 2001:db8::/48")]
    if str(network) != prefix:
        return [(field, f"is not in its canonical form; write {network}")]
    if network.prefixlen == 0:
        return [(field, "is the whole internet; name the prefix that is meant")]
    return []


def _place(field: str, place: Place) -> Errors:
    errors = _prefix(f"{field}.prefix", place.prefix)
    for name in ("site", "room", "interface"):
        if not getattr(place, name).strip():
            errors.append(
                (f"{field}.{name}", f"is empty; a tenant is bound to site, room and access interface: name the {name}")
            )
    if place.interface.strip() and (fault := device_fault(place.interface)):
        errors.append((f"{field}.interface", f"is no name of a network device: {fault}"))
    if place.side is not Side.OFFSHORE:
        errors.append((f"{field}.side", f"is {place.side}; only places of the offshore zone can be granted anything"))
    return errors


def _window(window: Window) -> Errors:
    errors = _term(window.valid_from, window.valid_until, "window.")
    if any(not 0 <= day <= 6 for day in window.weekdays) or len(set(window.weekdays)) != len(window.weekdays):
        errors.append(("window.weekdays", "needs each day once, 0 (Monday) to 6 (Sunday)"))
    if not 0 <= window.start_minute < window.end_minute <= 1440:
        message = "needs 0 ≤ start < end ≤ 1440; for hours across midnight make two grants"
        errors.append(("window.end_minute", message))
    if not -720 <= window.utc_offset_minutes <= 840:
        errors.append(("window.utc_offset_minutes", "needs -720 to 840"))
    return errors


def _term(start: int, end: int, prefix: str = "") -> Errors:
    errors = _time(f"{prefix}valid_from", start) + _time(f"{prefix}valid_until", end)
    if not errors and end <= start:
        errors.append((f"{prefix}valid_until", "is not after valid_from; the end must come after the beginning"))
    return errors


def _time(field: str, second: int) -> Errors:
    return [] if 0 <= second < MAX_TIME else [(field, "is no time in Unix seconds")]


def _ports(field: str, ports: tuple[int, ...]) -> Errors:
    errors = _too_many(field, ports, MAX_PORTS)
    if any(not 0 < port < 65536 for port in ports):
        errors.append((field, "needs ports from 1 to 65535"))
    if len(set(ports)) != len(ports):
        errors.append((field, "has a port twice; remove one"))
    return errors


def _names(field: str, names: tuple[str, ...]) -> Errors:
    errors = _too_many(field, names, MAX_NAMES)
    errors += [(f"{field}[{n}]", "is no id") for n, name in enumerate(names[:MAX_NAMES]) if not _ID(name)]
    if len(set(names)) != len(names):
        errors.append((field, "has a name twice; remove one"))
    return errors


def _too_many(field: str, items: tuple[object, ...], limit: int) -> Errors:
    return [(field, f"has {len(items)} entries; at most {limit} are allowed")] if len(items) > limit else []


def _texts(**fields: str) -> Errors:
    return [
        (field, f"needs one line of at most {MAX_TEXT} printable characters")
        for field, text in fields.items()
        if len(text) > MAX_TEXT or not text.isprintable()
    ]


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    """The list of publicsuffix.org: ICANN's suffixes and the private ones (github.io); an unknown TLD is one too."""
    return PublicSuffixList()


def _is_public_suffix(name: str) -> bool:
    return bool(_suffixes().is_public(name))
