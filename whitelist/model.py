"""Services, grants, denies and lines, as the register stores them and the API carries them."""

from enum import StrEnum

import msgspec

from tenants.model import Provenance, Side


class Protocol(StrEnum):
    """What may be spoken to an endpoint: tls = CONNECT with a checked ClientHello; http = plain absolute-form requests;
    tcp = CONNECT with any bytes."""

    TLS = "tls"
    HTTP = "http"
    TCP = "tcp"


class DataGrade(StrEnum):
    """一般, 重要, 核心: core data never leaves."""

    GENERAL = "general"
    IMPORTANT = "important"
    CORE = "core"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to a service. target: exact host ("api.example.com"), "*.example.com" (any depth below, not the apex) or
    an IP prefix ("203.0.113.0/28"), all canonical."""

    target: str
    ports: tuple[int, ...] = (443,)
    protocol: Protocol = Protocol.TLS


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An international information service. special_prefixes: special-purpose prefixes its names may resolve to (else
    address-forbidden). shared_name marks services behind a CDN name that uninspected TLS cannot tell apart."""

    id: str
    name: str
    name_zh: str = ""
    endpoints: tuple[Endpoint, ...]
    categories: tuple[str, ...] = ()
    special_prefixes: tuple[str, ...] = ()
    shared_name: bool = False
    retired: bool = False
    provenance: Provenance = Provenance()


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named set of tenants (membership stands on the tenant)."""

    id: str
    name: str = ""
    provenance: Provenance = Provenance()


class Category(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named set of services (membership stands on the service)."""

    id: str
    name: str = ""
    provenance: Provenance = Provenance()


class GrantState(StrEnum):
    """States of a grant that the data path knows; the review states before EFFECTIVE are not in the snapshot."""

    EFFECTIVE = "EFFECTIVE"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a grant is in force: Unix seconds (until exclusive), and optionally weekdays (0 = Monday) and minutes of the
    day [start, end) in the zone's fixed offset."""

    valid_from: int
    valid_until: int
    weekdays: tuple[int, ...] = ()
    start_minute: int = 0
    end_minute: int = 1440
    utc_offset_minutes: int = 480


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tenant or group × service or category × lines × window × purpose × data grade × countries. subject is
    "tenant:ID" or "group:ID", object "service:ID" or "category:ID"; lines are in order of preference."""

    id: str
    subject: str
    object: str
    lines: tuple[str, ...]
    window: Window
    purpose: str = "internal_office"
    data_grade: DataGrade = DataGrade.GENERAL
    origin_country: str = "CN"
    destination_country: str = ""
    state: GrantState = GrantState.EFFECTIVE
    provenance: Provenance = Provenance()


class Deny(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A global deny; beats every grant. target as in Endpoint; no ports means all."""

    id: str
    target: str
    ports: tuple[int, ...] = ()
    note: str = ""
    provenance: Provenance = Provenance()


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dedicated international line of kind device. index (1…255, given by the register) fixes its mark and table.
    Addresses without prefix length, gateways on-link on device."""

    id: str
    name: str = ""
    carrier: str = ""
    circuit: str = ""
    index: int = 0
    device: str
    gateway4: str = ""
    gateway6: str = ""
    source4: str = ""
    source6: str = ""
    resolvers: tuple[str, ...] = ()
    side: Side = Side.ABROAD
    valid_from: int = 0
    valid_until: int = 0  # 0: no end
    drained: bool = False
    retired: bool = False
    provenance: Provenance = Provenance()
