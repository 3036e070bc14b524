"""The compiled policy: keys and rows of the snapshot, as the data path reads them.

A key is one letter and what is looked up; its value is MessagePack:
  c<credential>  CredentialEntry      t<tenant>  TenantEntry      l<line>  LineEntry
  h<host>  w<suffix of *.suffix>  4<length><network>  6<length><network>   list of DenyEntry and EndpointEntry
  p<family><length>/<network>/<interface>   list of ResidentEntry: whose place this prefix is
  g<subject>|<object>   list of GrantEntry: what this very subject holds of this very object
Groups and categories stay names in `subjects` and `objects`: a tenant's subjects times a service's objects are looked
up, never multiplied out. Rows of a list are in the order in which they are considered.
"""

from typing import ClassVar

import msgspec

from tenants.model import Side, TenantState
from whitelist.inspection import Inspect
from whitelist.model import LineShare, Srv6, Vxlan
from whitelist.tls_terms import TlsTerms

FORMAT = 4  # of keys and rows: a snapshot of another format is compiled again

EFFECTIVE, SUSPENDED, EXPIRED = 0, 1, 2  # GrantEntry.state
GENERAL, IMPORTANT, CORE = 0, 1, 2  # GrantEntry.grade


class PlaceEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A tenant's place. first and last: ends of the prefix in network byte order, 4 or 16 bytes."""

    interface: str
    first: bytes
    last: bytes
    offshore: bool


class TenantEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A firm. subjects: what its grants may be made out to ("tenant:ID|", then "group:ID|" of each group). Unix s.
    consented, consent_until: the term of its consent to inspection, both 0 for none."""

    id: str
    state: TenantState
    valid_from: int
    valid_until: int
    places: tuple[PlaceEntry, ...]
    subjects: tuple[bytes, ...]
    slot: int
    max_tunnels: int
    tunnels_per_second: int
    bytes_per_day: int
    bytes_per_month: int
    consented: int
    consent_until: int


class ResidentEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A tenant, under the key of a place of its own."""

    id: str


class CredentialEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A credential: a token or a certificate. token_sha256, certificate_sha256: 32 bytes, or none; revoked: Unix
    seconds, 0 for not."""

    id: str
    tenant: str
    user: str
    token_sha256: bytes
    valid_until: int
    revoked: int
    certificate_sha256: bytes = b""


class LineEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A line: the fields of whitelist.model.Line that concern the data path and the kernel."""

    id: str
    index: int
    device: str
    gateway4: str
    gateway6: str
    source4: str
    source6: str
    resolvers: tuple[str, ...]
    side: Side
    valid_from: int
    valid_until: int
    drained: bool
    retired: bool
    encapsulation: Vxlan | Srv6 | None
    probes: tuple[str, ...]
    rate_up: int
    rate_down: int
    shares: tuple[LineShare, ...]


class DenyEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """A global deny, under the key of its target. No ports means all."""

    id: str
    target: str
    ports: tuple[int, ...]


class EndpointEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A way to a service, under the key of its target. protocol: index into PROTOCOLS; objects: what grants may be for
    ("service:ID", then "category:ID" of each category)."""

    PROTOCOLS: ClassVar[tuple[str, ...]] = ("tls", "http", "tcp")

    service: str
    target: str
    ports: tuple[int, ...]
    protocol: int
    objects: tuple[bytes, ...]
    special_prefixes: tuple[str, ...]


class Schedule(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Weekdays (bit 0: Monday) and minutes of the day [start, end), at an offset from UTC in minutes."""

    days: int
    start: int
    end: int
    offset: int


class GrantEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A grant. schedule: None for around the clock; valid_until exclusive, Unix seconds; tls: None for the usual;
    inspect: None for not."""

    id: str
    lines: tuple[str, ...]
    valid_from: int
    valid_until: int
    state: int
    grade: int
    schedule: Schedule | None
    weights: tuple[int, ...]
    tls: TlsTerms | None
    inspect: Inspect | None


HostRow = DenyEntry | EndpointEntry
Entry = CredentialEntry | TenantEntry | LineEntry | HostRow | GrantEntry | ResidentEntry

encode = msgspec.msgpack.Encoder().encode
decode_credential = msgspec.msgpack.Decoder(CredentialEntry).decode
decode_tenant = msgspec.msgpack.Decoder(TenantEntry).decode
decode_line = msgspec.msgpack.Decoder(LineEntry).decode
decode_rows = msgspec.msgpack.Decoder(list[HostRow]).decode
decode_residents = msgspec.msgpack.Decoder(list[ResidentEntry]).decode
decode_grants = msgspec.msgpack.Decoder(list[GrantEntry]).decode
