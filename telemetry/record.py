"""The flow record: one flat, versioned JSON object per thing that happened.

The stored bytes are the evidence: they are encoded once, by the process that saw the event, and copied from then on.
There is no field for a query, a cookie, a header value or payload, and none may be added.
"""

from enum import StrEnum

import msgspec

VERSION = 1


class Kind(StrEnum):
    """What a record tells of a flow or of the node."""

    OPEN = "open"
    PROGRESS = "progress"
    CLOSE = "close"
    DENY = "deny"
    HEARTBEAT = "heartbeat"
    LINE = "line"
    ACTION = "action"
    FINDING = "finding"  # a rule holds of a flow; fields of the record that completed it, rule: its id
    PORTAL = "portal"  # a firm asked the gateway about itself: its page, a refusal, its PAC file; nothing went out
    READ = "read"  # an authority read records of a firm; written before it is answered
    STATEMENT = "statement"  # what the log held of a firm since its last statement (telemetry.statement)
    REQUEST = "request"  # inside an inspected tunnel: let through, written before it is
    RESPONSE = "response"  # inside an inspected tunnel: how that request ended
    SPOTCHECK = "spotcheck"  # a step of a spot check (telemetry.spotcheck)


class CloseCause(StrEnum):
    """Why a flow ended (closed set)."""

    COMPLETED = "completed"  # a plain HTTP exchange that came to its end
    CLIENT_CLOSED = "client-closed"
    UPSTREAM_CLOSED = "upstream-closed"
    IDLE = "idle"
    TOTAL_TIME = "total-time"
    CUT_BY_POLICY = "cut-by-policy"
    CUT_BY_RULE = "cut-by-rule"
    CUT_BY_KILL = "cut-by-kill"
    CUT_BY_OPERATOR = "cut-by-operator"
    EXPIRED = "expired"
    RESET = "reset"
    REFUSED = "refused"  # opened, then refused before any byte of the tenant went out (name-mismatch, dial-failed …)
    LINE_DOWN = "line-down"
    QUOTA_EXHAUSTED = "quota-exhausted"  # the firm's bytes of the day or month are used up
    DRAINED = "drained"
    INSPECTION_FAILED = "inspection-failed"  # the inspector ended or fell silent under it
    INTERNAL_ERROR = "internal-error"
    WORKER_DIED = "worker-died"


class Record(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False, tag_field="v", tag=VERSION):
    """One record; its version "v" is always the first field. Empty and zero fields are left out of the bytes. Units:
    time and bytes_as_of are Unix microseconds; duration and rtt are microseconds; bytes_out is client to server,
    bytes_in server to client."""

    node: str
    boot: str
    worker: str  # "w0", "w1" … or "lines", "control", "recorder"
    seq: int  # gap-free per node, boot and worker, from 1
    kind: str
    time: int
    flow: str = ""  # 16 Crockford base32 characters; a refusal's ref is its flow
    tenant: str = ""
    site: str = ""
    room: str = ""
    interface: str = ""
    user: str = ""  # pseudonym of the label on the credential
    credential: str = ""
    client_ip: str = ""
    client_port: int = 0
    original_dst: str = ""
    listener: str = ""
    method: str = ""
    host: str = ""  # canonical target host: a name or an IP literal
    port: int = 0
    path: str = ""  # plain HTTP and inspected flows only; never with a query
    user_agent: str = ""  # at most 256 bytes
    status: int = 0
    sni: str = ""
    alpn: str = ""
    ja4: str = ""
    ech: bool = False
    tls_version: str = ""
    address: str = ""  # the address dialled
    line: str = ""
    egress_ip: str = ""
    egress_port: int = 0
    service: str = ""
    grant: str = ""
    revision: int = 0
    decision: str = ""  # "permit" or "deny"
    reason: str = ""  # whitelist.reason.Reason
    rule: str = ""
    ref: str = ""
    tunnel: str = ""  # of an inner request: the flow it came in
    content_type: str = ""  # inspected flows only: the media type of a body, without parameters
    count: int = 0  # >1: one record for so many equal refusals of strangers
    bytes_out: int = 0
    bytes_in: int = 0
    bytes_as_of: int = 0
    duration: int = 0
    rtt: int = 0
    retransmits: int = 0
    cause: str = ""  # CloseCause
    detail: str = ""  # machine-made words for kinds line, action, heartbeat; never text of a client
    sealed: str = ""  # what personal fields held (telemetry/personal.py): PERIOD.base64
    values: dict[str, int] | None = None  # kinds heartbeat and line: gauges by name; kind statement: sums
    facts: dict[str, str] | None = None  # kinds read, spotcheck and action: what was done, by name


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record's bytes, without a newline inside (JSON escapes them) or at the end."""
    return _encoder.encode(record)


def decode(line: bytes) -> Record:
    """Reads one stored record. Raises msgspec.DecodeError (msgspec.ValidationError is one) for anything else."""
    return _decoder.decode(line)
