"""What a sink of the configuration is. Pure."""

import msgspec

from telemetry.record import Kind, Record

KINDS_OF_SINK = ("file", "syslog", "webhook", "nats")
FORMATS = ("native", "ocsf", "ecs")
BEGINS = ("now", "oldest")
FINDING = "finding"
STREAM_KINDS = (*(kind.value for kind in Kind), FINDING)
_OF_FLOWS = frozenset({Kind.OPEN.value, Kind.PROGRESS.value, Kind.CLOSE.value, Kind.DENY.value})
_USUAL = frozenset(STREAM_KINDS) - {Kind.HEARTBEAT.value}


class Sink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where records go. to: a file's path; HOST:PORT of a syslog server (TLS); the https URL of a webhook; a NATS
    server's URL. format: of FORMATS; kinds: which records, of STREAM_KINDS, none named: findings for a webhook, else
    all but heartbeats; begin: where a sink that is new starts. ca, certificate, key: of TLS, as files; ca "": the
    system's. secret: the file with a webhook's key. credentials: NATS's file of them. stream, subject: of JetStream,
    the subject being followed by the record's kind."""

    name: str
    kind: str
    to: str
    format: str = "native"
    kinds: tuple[str, ...] = ()
    begin: str = "now"
    ca: str = ""
    certificate: str = ""
    key: str = ""
    secret: str = ""
    credentials: str = ""
    stream: str = "FEIYU"
    subject: str = "feiyu.records"

    @property
    def wanted(self) -> frozenset[str]:
        """The kinds that go there."""
        if self.kinds:
            return frozenset(self.kinds)
        return frozenset({FINDING}) if self.kind == "webhook" else _USUAL


def stream_kind(record: Record) -> str:
    """A record's kind, or finding: what a rule found, told by a record that is not a flow's own."""
    return FINDING if record.rule and record.kind not in _OF_FLOWS else record.kind
