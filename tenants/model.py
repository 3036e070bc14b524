"""Tenants, credentials and places, as the register stores them and the API carries them."""

from enum import StrEnum

import msgspec


class Side(StrEnum):
    """Where a prefix or line lies; only offshore to abroad can be granted (R4)."""

    OFFSHORE = "offshore"
    DOMESTIC = "domestic"
    ABROAD = "abroad"


class TenantKind(StrEnum):
    """Who may become a tenant: plan task 10 (foreign-funded firm) and task 8 (offshore data service)."""

    FOREIGN_FUNDED = "foreign_funded"
    OFFSHORE_DATA_SERVICE = "offshore_data_service"


class TenantState(StrEnum):
    """States of a tenant; the table of transitions is tenants.application's."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    PRELIM_REVIEW = "PRELIM_REVIEW"
    NEED_SUPPLEMENT = "NEED_SUPPLEMENT"
    ZONE_REVIEW = "ZONE_REVIEW"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    ACTIVE = "ACTIVE"
    RENEWAL_DUE = "RENEWAL_DUE"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    ARCHIVED = "ARCHIVED"


GONE = frozenset({TenantState.REJECTED, TenantState.REVOKED, TenantState.ARCHIVED})  # such tenants hold no place


class Origin(StrEnum):
    """How an entry came to be in force."""

    BOOTSTRAP = "bootstrap"  # by one person, before there were accounts
    APPROVED = "approved"  # by two people
    DIRECT = "direct"  # by one person, as it opens nothing that was closed


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a tenant sits (R2): site, room, access interface, and one source prefix with its side."""

    site: str
    room: str
    interface: str
    prefix: str  # canonical CIDR, IPv4 or IPv6
    side: Side = Side.OFFSHORE


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Who put an entry into the register, when (Unix seconds), how and why."""

    origin: Origin = Origin.BOOTSTRAP
    actor: str = ""
    reason: str = ""
    created: int = 0
    updated: int = 0
    revision: int = 0


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A firm's written consent to inspection: the document's SHA-256 (hex), who signed it, and from when to when it is
    good (Unix seconds, until exclusive)."""

    document_sha256: str
    signatory: str
    date: int
    until: int


class Tenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A firm. Times are Unix seconds, valid_until exclusive; 0 in max_tunnels means the node's default."""

    id: str
    name: str
    name_zh: str = ""
    kind: TenantKind = TenantKind.FOREIGN_FUNDED
    credit_code: str = ""
    state: TenantState = TenantState.ACTIVE
    valid_from: int
    valid_until: int
    places: tuple[Place, ...] = ()
    groups: tuple[str, ...] = ()
    max_tunnels: int = 0
    tunnels_per_second: int = 0  # new flows a second in all workers; 0: no limit of its own
    bytes_per_day: int = 0  # both directions, by the zone's day (UTC+8); 0: no quota
    bytes_per_month: int = 0
    consent: Consent | None = None  # to inspection
    slot: int = 0  # small integer, unique, given by the register: the tenant's row in shared counters
    provenance: Provenance = Provenance()


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way for a tenant's user to identify: a token or a certificate. The token is shown once; only its SHA-256 (hex)
    is kept: tokens carry 256 random bits, so a slow hash would add nothing. Of a certificate its SHA-256 and its serial
    number (both hex) are kept.

    invite: its token enrols a machine once, and opens nothing in the data path, which never learns of it. enrolment:
    the invite that a certificate goes back to, through all its renewals; revoking one of them revokes them all."""

    id: str
    tenant: str
    user: str = ""  # pseudonym of the label
    token_sha256: str = ""
    certificate_sha256: str = ""
    serial: str = ""
    valid_until: int
    revoked: int = 0  # Unix seconds, 0: not revoked
    invite: bool = False
    used: int = 0  # Unix seconds at which an invite enrolled its machine, 0: not yet
    enrolment: str = ""
    provenance: Provenance = Provenance()
