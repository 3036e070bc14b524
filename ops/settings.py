"""The node's configuration: YAML to frozen settings, every problem with its line. Holds no secrets.

JSON is YAML too: the supervisor hands its children the settings it accepted as run_dir/settings.json, so that a file
broken later cannot reach a child that restarts. to_json and parse_settings are each other's inverse.
"""

import os
import socket
from pathlib import Path

import msgspec

from gateway.config import LISTENER_DEMANDS, Health, Limits, Timeouts, Tls
from gateway.line.model import TRANSPARENT_MARK
from ops.yamlnode import Problem, ProblemsError, compose
from telemetry.retention import CEILING, DEFAULT
from telemetry.stream.spec import Sink
from tenants.model import Side

DEFAULT_PATH = "/etc/feiyu/feiyu.yaml"


class Listener(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way in. kind: plain (HTTP), http (which may speak TLS), socks5, or transparent (its interface's connections
    to ports 80 and 443 of anywhere else come to it). address is canonical "host:port" or "[v6]:port"; IPv6 listeners
    take IPv6 only. interface: where given, connections that come by any other are not even accepted, and none has to be
    asked which it came by. demands: what a client must show: the prefix always, and perhaps token, certificate, or
    both; with the prefix alone the place says which firm asks. proxy_protocol: prefixes of the balancers that must say
    with a PROXY header where each connection came from."""

    name: str
    kind: str = "plain"
    address: str
    interface: str = ""
    demands: tuple[str, ...] = LISTENER_DEMANDS
    proxy_protocol: tuple[str, ...] = ()
    tls: Tls | None = None

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port as the socket module takes them."""
        return split_address(self.address)

    @property
    def family(self) -> socket.AddressFamily:
        """Of its sockets."""
        return socket.AF_INET6 if ":" in self.endpoint[0] else socket.AF_INET

    @property
    def place(self) -> str:
        """What tells its sockets from those of other listeners: address and interface, and whether they take what is
        addressed elsewhere."""
        return f"{self.address}%{self.interface}{'%transparent' if self.is_transparent else ''}"

    @property
    def is_transparent(self) -> bool:
        """Whether it takes what clients send to elsewhere."""
        return self.kind == "transparent"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where tenants come from: an interface is a room of a site, and these source prefixes (canonical) belong to it."""

    interface: str
    site: str
    room: str
    prefixes: tuple[str, ...]
    side: Side = Side.OFFSHORE


class Management(msgspec.Struct, frozen=True, kw_only=True):
    """A device and the prefixes behind it that the host's own programs may reach: ssh, time, package mirror."""

    interface: str
    prefixes: tuple[str, ...]


class LineBase(msgspec.Struct, frozen=True, kw_only=True):
    """Where the kernel objects of lines are numbered: line i has mark | i << 8 under mark_mask, table + i, and its
    rules' priorities from priority on. transparent_mark: what packets carry on their way to a transparent listener."""

    mark: int = 0x46000000
    mark_mask: int = 0xFFFFFF00
    table: int = 4600
    priority: int = 4600
    transparent_mark: int = TRANSPARENT_MARK


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """Numeric ids of the processes, from base; base 0 keeps the current ids. One gid is shared by all of them."""

    base: int = 0

    @property
    def lines(self) -> int | None:
        """uid of the lines process, or None for the current one."""
        return self.base or None

    @property
    def worker(self) -> int | None:
        """uid of the workers, or None."""
        return self.base + 1 if self.base else None

    @property
    def control(self) -> int | None:
        """uid of control, or None."""
        return self.base + 2 if self.base else None

    @property
    def recorder(self) -> int | None:
        """uid of the recorder, or None."""
        return self.base + 3 if self.base else None

    @property
    def cosigner(self) -> int | None:
        """uid of the cosigner, or None."""
        return self.base + 4 if self.base else None

    @property
    def notary(self) -> int | None:
        """uid of the notary, or None."""
        return self.base + 5 if self.base else None

    @property
    def streams(self) -> int | None:
        """uid of the streams process, or None."""
        return self.base + 6 if self.base else None

    @property
    def inspector(self) -> int | None:
        """uid of the inspectors, or None."""
        return self.base + 7 if self.base else None

    @property
    def processes(self) -> frozenset[int]:
        """uids of all the node's processes, which administer nothing; empty where they have none of their own."""
        own = (
            self.lines,
            self.worker,
            self.control,
            self.recorder,
            self.cosigner,
            self.notary,
            self.streams,
            self.inspector,
        )
        return frozenset(uid for uid in own if uid is not None)

    @property
    def group(self) -> int | None:
        """The shared gid: it may read the snapshot and the public key, and write the spool."""
        return self.base + 9 if self.base else None


class Ca(msgspec.Struct, frozen=True, kw_only=True):
    """How long certificates live that control issues for clients, seconds."""

    client_life: float = 604_800


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Where the recorder serves /metrics."""

    address: str = "127.0.0.1:9464"


class Pac(msgspec.Struct, frozen=True, kw_only=True):
    """What PAC files say. gateways: URLs of proxies in the order to try, http:// or https://, where they are not this
    node's own listeners (a balancer, several nodes); hosts: which go through them, those of the firm's whitelist or
    all; others: what becomes of the rest, straight out of the firm's own network, or to the gateway, which says why
    not."""

    gateways: tuple[str, ...] = ()
    hosts: str = "whitelist"
    others: str = "direct"


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else's witness (C2SP tlog-witness). url: its submission prefix; key: its verifier key, NAME+ID+KEY."""

    url: str
    key: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence log. interval: seconds between checkpoints; what is decided is under a published one after at most
    that and half a second. personal: clear, or sealed (telemetry/personal.py). signatures: kinds of second signatures
    under checkpoints; witnesses: who is asked to cosign them; quorum: how many must have, 0 for all."""

    interval: float = 1.0
    personal: str = "clear"
    signatures: tuple[str, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    quorum: int = 0

    @property
    def needed(self) -> int:
        """How many witnesses make a checkpoint a witnessed one."""
        return self.quorum or len({witness.key.partition("+")[0] for witness in self.witnesses})


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long records of flows are kept. days: then they are deleted, unless a legal hold keeps them; personal_days:
    how long personal fields in them can be read, where they are sealed; ceiling: the most days that may be set, and
    that a hold may last."""

    days: int = DEFAULT
    personal_days: int = DEFAULT
    ceiling: int = CEILING


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Detection rules (Sigma). paths: files and folders; pack: starter (Feiyu's own besides), or none; action: tell
    (what a rule asks for is only told), or act."""

    paths: tuple[str, ...] = ()
    pack: str = "starter"
    action: str = "tell"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A whole node. max_staleness: seconds without a word from control before new flows are refused. zone: digest of
    the link that brought the first accounts, in hex: with it nothing is in force that the notary did not admit; "":
    there is no notary, and what control publishes is in force; regulators: accounts of this machine
    that are an authority's, which read records with their cause only; inspectors:
    processes that look into what grants let inspect, none: such grants are refused."""

    node: str
    listeners: tuple[Listener, ...]
    state_dir: str = "/var/lib/feiyu"
    run_dir: str = "/run/feiyu"
    register: str = ""
    workers: int = 0
    inspectors: int = 0
    access: tuple[Access, ...] = ()
    management: tuple[Management, ...] = ()
    line_base: LineBase = LineBase()
    health: Health = Health()
    users: Users = Users()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    max_staleness: float = 3_600
    zone: str = ""
    metrics: Metrics = Metrics()
    ca: Ca = Ca()
    evidence: Evidence = Evidence()
    streams: tuple[Sink, ...] = ()
    regulators: tuple[str, ...] = ()
    retention: Retention = Retention()
    rules: Rules = Rules()
    portal: str = ""
    portal_name: str = "feiyu.zone"
    pac: Pac = Pac()

    @property
    def register_at(self) -> Path | str:
        """Where the register is: a file, or the address of a PostgreSQL database."""
        return self.register or Path(self.state_dir) / "register.db"

    @property
    def worker_count(self) -> int:
        """How many workers run; 0 in the file means one per core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))

    def to_json(self) -> str:
        """The settings as JSON text that parse_settings reads back to an equal value."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


class SettingsError(Exception):
    """All that is wrong with a configuration file. str() is one line per problem: PATH:LINE: wrong; expected …"""

    def __init__(self, path: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{self.path}:{p.line}: {p.wrong}; expected {p.expected}" for p in self.problems)


def split_address(address: str) -> tuple[str, int]:
    """A canonical address's host (no brackets) and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def settings_path(given: str | None = None) -> Path:
    """The file to read: the one given, else FEIYU_CONFIG, else /etc/feiyu/feiyu.yaml."""
    return Path(given or os.environ.get("FEIYU_CONFIG") or DEFAULT_PATH)


def load_settings(path: str | Path) -> Settings:
    """Reads the file. Raises SettingsError, also when it cannot be read (then with line 1)."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        problem = Problem(1, f"cannot be read: {error.strerror}", "a readable file")
        raise SettingsError(str(path), (problem,)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(line, f"byte {error.object[error.start]:#04x} is not UTF-8", "text in UTF-8")
        raise SettingsError(str(path), (problem,)) from None
    return parse_settings(text, str(path))


def parse_settings(text: str, path: str) -> Settings:
    """Reads configuration text; path is only for the messages. Raises SettingsError with every problem found."""
    from ops.settings_schema import check_settings  # the schema names the structs above

    try:
        return check_settings(compose(text))
    except ProblemsError as problems:
        raise SettingsError(path, tuple(sorted(problems.found, key=lambda problem: problem.line))) from None
