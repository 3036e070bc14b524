"""What a worker is told at its start; times in seconds."""

from pathlib import Path

import msgspec

LISTENER_DEMANDS = ("token", "prefix")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each stage of a flow may take."""

    first_byte: float = 5  # of a connection, until it says anything at all
    handshake: float = 10  # the whole of it, until the request is there
    dial: float = 10
    idle: float = 300
    total: float = 86_400
    drain: float = 30


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what clients can use up: bytes, counts, and refusals of strangers recorded one by one per second,
    source and reason."""

    header_bytes: int = 16_384
    tunnels_per_tenant: int = 2_000
    tunnels_per_user: int = 1_000  # by the label on the credential; 0: as many as the firm
    handshakes_per_source: int = 256  # in progress on a worker
    handshakes: int = 4_096  # in progress on a worker, from all sources, and never more than half of its connections
    tls_handshakes: int = 1_024  # in progress on a worker, from all sources
    spool_bytes: int = 1 << 30
    stranger_refusals_per_second: int = 10


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """When probes of a line are sent, and when they change its state (gateway.line.hysteresis). interval, timeout: of
    probes, seconds; failures, successes: rounds; hold_down, hold_down_max, flap_window: seconds. What live flows say
    (gateway.line.passive): degraded_rtt: times the line's usual round trip; degraded_loss: part of the segments sent
    again; degraded_services: fewest services to go by."""

    interval: float = 5
    timeout: float = 2
    failures: int = 3
    successes: int = 3
    hold_down: float = 10
    hold_down_max: float = 300
    flaps: int = 3
    flap_window: float = 300
    degraded_rtt: float = 3
    degraded_loss: float = 0.05
    degraded_services: int = 10


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How a listener speaks TLS: PEM files of its certificate (with chain), key and the CAs whose clients it knows
    (where a certificate is demanded). Files that change are read again by themselves."""

    certificate: str
    key: str
    client_ca: str = ""


class ListenerSocket(msgspec.Struct, frozen=True, kw_only=True):
    """An inherited listening socket. kind: what is spoken on it (gateway.arrival); demands: what a client must show
    there: the prefix always, and perhaps token, certificate, or both; proxy_protocol: prefixes of the balancers that
    say with a PROXY header where each connection came from, and nobody else is then listened to."""

    name: str
    kind: str
    fd: int
    demands: tuple[str, ...] = LISTENER_DEMANDS
    proxy_protocol: tuple[str, ...] = ()
    tls: Tls | None = None


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. process: its name in records ("w0.1"); columns: of the shared counters, the same in all
    workers; usage: the file of bytes per tenant, kept over restarts; inspectors: how many
    there are, each with a socket in run_dir; public_key: the file with the raw Ed25519 key that snapshots are signed
    with, read with each load; admitted: the notary's word on which of them is in force, None where
    there is no notary; notary: the uid it must be of, None for any; portal_name: the host whose requests are for the
    firm's own page."""

    node: str
    boot: str
    process: str
    run_dir: Path
    snapshot_dir: Path
    public_key: Path
    admitted: Path | None = None
    notary: int | None = None
    usage: Path
    listeners: tuple[ListenerSocket, ...]
    mark_base: int
    places: dict[str, tuple[str, str]] = {}  # access interface → site, room
    columns: int = 8
    inspectors: int = 0
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    max_staleness: float = 3_600
    portal: str = "http://feiyu.zone"
    portal_name: str = "feiyu.zone"
