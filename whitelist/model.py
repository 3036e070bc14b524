"""Services, grants, denies and lines, as the register stores them and the API carries them."""

from enum import StrEnum

import msgspec

from tenants.model import Provenance, Side
from whitelist.inspection import Inspect
from whitelist.tls_terms import Application, Ech, Nameless


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
    "tenant:ID" or "group:ID", object "service:ID" or "category:ID"; lines are in order of preference. no_sni, ip_sni,
    ech, application: what its TLS tunnels may begin with (whitelist.tls_terms). inspect: what is allowed inside them;
    None: they are never opened."""

    id: str
    subject: str
    object: str
    lines: tuple[str, ...]
    line_weights: tuple[int, ...] = ()  # one for each line: shares of new flows; empty: strictly in order
    window: Window
    purpose: str = "internal_office"
    data_grade: DataGrade = DataGrade.GENERAL
    no_sni: Nameless = Nameless.USUAL
    ip_sni: Nameless = Nameless.USUAL
    ech: Ech = Ech.NOTE
    application: Application = Application.ANY
    inspect: Inspect | None = None
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


class LineKind(StrEnum):
    """What the carrier sells: IPLC, IEPL, MPLS-VPN, SD-WAN over a licensed underlay, 国际互联网数据专用通道."""

    IPLC = "iplc"
    IEPL = "iepl"
    MPLS_VPN = "mpls-vpn"
    SD_WAN = "sd-wan"
    INTERNET_CHANNEL = "internet-channel"


class Attachment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document of the customer file, by its digest: authorisation, information-security commitment, agreement."""

    kind: str
    sha256: str  # hex
    name: str = ""


class CustomerFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """用户档案: what a carrier must keep of a line's user (MIIT 信管函[2017]32号)."""

    name: str = ""
    credit_code: str = ""  # unified social credit code, 18 characters with a check character
    legal_representative: str = ""
    officer: str = ""  # handling officer, 经办人
    contact: str = ""
    licence: str = ""
    scope: str = ""  # scope of business
    headcount: int = 0


class Vxlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="vxlan"):
    """The line is a VXLAN segment (RFC 7348) towards one peer: `device` of the line is made by the lines process.
    underlay: the device that the outer packets leave by; gateway: their next hop there, empty where the peer is
    on-link. local, peer: outer source and destination; local, peer, gateway: one family. mtu: bytes of the largest
    inner packet, 0: what the underlay's leaves beside the outer headers."""

    vni: int
    underlay: str
    local: str
    peer: str
    gateway: str = ""
    port: int = 4789
    mtu: int = 0


class Srv6(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="srv6"):
    """The line is a segment list (RFC 8754, RFC 8986 H.Encaps) over the line's device: first segment first. gateway:
    IPv6 next hop towards the first segment; local: the outer source, an address of the device. The inner packets go to
    no next hop, so gateway4 and gateway6 of the line may be empty. mtu: bytes of the largest inner packet, 0: what the
    device's leaves beside the outer headers."""

    segments: tuple[str, ...]
    gateway: str
    local: str
    mtu: int = 0


class LineShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant has of a line. number: 1…250, one of its own on this line, for its traffic class; source4,
    source6: the tenant's own egress addresses (empty: the line's); rates in kbit/s, up is client to server: guaranteed
    and ceiling (0: no guarantee; no ceiling but the line's)."""

    tenant: str
    number: int
    source4: str = ""
    source6: str = ""
    up: int = 0
    up_ceiling: int = 0
    down: int = 0
    down_ceiling: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dedicated international line: contract side and technical side. index (1…255, given by the register) fixes its
    mark and table. Addresses without prefix length, gateways on-link on device. resolvers: ADDRESS, or
    tls://ADDRESS#NAME for DNS over TLS (RFC 7858). probes: tcp://ADDRESS:PORT or http://ADDRESS[:PORT]/PATH, asked over
    the line. rate_up, rate_down: kbit/s that the line is shaped to, 0 for not at all."""

    id: str
    name: str = ""
    carrier: str = ""
    circuit: str = ""
    kind: LineKind = LineKind.IPLC
    purpose: str = "internal_office"
    customer: CustomerFile = CustomerFile()
    bandwidth: int = 0  # contracted cross-border bandwidth, kbit/s
    officer: str = ""  # the carrier's or operator's responsible officer
    officer_contact: str = ""
    attachments: tuple[Attachment, ...] = ()
    index: int = 0
    device: str
    gateway4: str = ""
    gateway6: str = ""
    source4: str = ""
    source6: str = ""
    encapsulation: Vxlan | Srv6 | None = None
    resolvers: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    rate_up: int = 0
    rate_down: int = 0
    shares: tuple[LineShare, ...] = ()
    side: Side = Side.ABROAD
    valid_from: int = 0
    valid_until: int = 0  # 0: no end
    drained: bool = False
    retired: bool = False
    provenance: Provenance = Provenance()
