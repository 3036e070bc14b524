"""A whole node in the demo's zone, and what tests of it share."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import Timeouts, Tls
from ops.demo.counters import WireCounter
from ops.demo.network import DEFAULT, FIRMS, end
from ops.demo.register import REASON, fill
from ops.demo.stage import PORT, Stage
from ops.demo.world import PREFIXES
from ops.settings import Listener, Rules, Settings

RESTART = 8.0  # seconds in which what was killed serves again, also on a busy machine
SOCKS, BALANCED, SECURED, CERTIFIED, TRANSPARENT = 1080, 3129, 3135, 3136, 3140  # ports
BALANCER = "10.61.1.77"  # of acme, not an address of its programs
SLOW = "download?bytes=1000000000&rate=1000000"


class Node:
    """One zone with a running node for all tests of a session; a counter on its default wire."""

    def __init__(self, stage: Stage, counter: WireCounter) -> None:
        self.stage = stage
        self.counter = counter

    def feiyu(self, *arguments: str) -> str:
        """A change by an operator; it must succeed."""
        done = self.stage.feiyu(*arguments, *REASON)
        assert done.returncode == 0, f"feiyu {arguments}: {done.stderr}"
        return done.stdout

    def service(self, name: str, *endpoints: str, tenant: str = "acme", lines: tuple[str, ...] = ("hk1",)) -> None:
        """A further service granted as g-NAME."""
        ways = [word for endpoint in endpoints for word in ("--endpoint", endpoint)]
        special = [word for prefix in PREFIXES for word in ("--special-prefix", prefix)]
        self.feiyu("service", "add", name, *ways, *special)
        chosen = [word for line in lines for word in ("--line", line)]
        self.feiyu("grant", "add", "--id", f"g-{name}", "--tenant", tenant, "--service", name, *chosen, "--for", "1d")

    @contextlib.contextmanager
    def download(self, client: str, url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """A download that runs, and the id of its flow."""
        started = time.time()
        process = self.stage.clients[client].start(url)
        try:
            host = url.split("/")[2]
            flow: list[str] = []

            def there() -> bool:
                if process.poll() is not None:
                    time.sleep(0.5)  # for the records, before the test fails
                    raise AssertionError(f"curl ended with {process.returncode}: {self.stage.records(limit=4)}")
                flow[:] = [
                    f["flow"] for f in self.stage.open_flows() if f["host"] == host and f["time"] >= started * 1e6
                ]
                return bool(flow)

            self.stage.wait(there, f"no flow to {host}")
            yield process, flow[0]
        finally:
            end(process)

    def closing(self, flow: str) -> list[dict[str, Any]]:
        """The closing records of a flow, once there is one."""
        self.stage.wait(lambda: bool(self.closes(flow)), f"flow {flow} has no closing record", 10)
        return self.closes(flow)

    def closes(self, flow: str) -> list[dict[str, Any]]:
        """Those that are there now; none while nobody can be asked."""
        with contextlib.suppress(Exception):
            return self.stage.records(flow=flow, kind="close")
        return []

    def closed_from(self, port: int, since: int = 0) -> dict[str, Any]:
        """The closing record of the latest connection from this client port, after a time of the log: the kernel gives
        a port again."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            records = self.stage.records(kind="close", limit=20)
            found[:] = [r for r in records if r.get("client_port") == port and r["time"] > since]
            return bool(found)

        self.stage.wait(there, f"no closing record of a connection from port {port}", 5)
        return found[0]

    def recorded(self, kind: str, host: str, since: int) -> list[dict[str, Any]]:
        """Records of connections to a host since a time of the log, the newest first, once one of them is more than the
        answer to a credential that was not shown at first."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            records = self.stage.records(kind=kind, limit=20)
            found[:] = [r for r in records if r["time"] >= since and r.get("host") == host]
            return any(r.get("reason") != "identity-unknown" for r in found)

        self.stage.wait(there, f"no {kind} record of {host}", 20)
        return found

    def child(self, name: str) -> dict[str, Any]:
        """What the supervisor says of one process."""
        for child in self.stage.liveness().get("children", []):
            if child["name"] == name:
                return dict(child)
        return {}

    def kill(self, name: str) -> int:
        """kill -9 of a process of this node, by its number."""
        pid = int(self.child(name)["pid"])
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
        return pid

    def talk(self, firm: str, *said: bytes, version: int = 4, seconds: float = 5.0) -> bytes:
        """Everything the gateway answers to these bytes, sent from a firm one after the other answer."""
        with self.stage.zone.inside(FIRMS[firm].ns):
            connection = socket.create_connection((FIRMS[firm].near[version], PORT), seconds)
        with connection:
            heard = b""
            for number, piece in enumerate(said):
                if number:
                    heard += connection.recv(65_536)
                connection.sendall(piece)
            with contextlib.suppress(OSError):
                while more := connection.recv(65_536):
                    heard += more
            return heard


def ca_files(stage: Stage) -> Path:
    """Where the files of the zone's CA are on the node; its root is in `safe` beside."""
    return stage.directory / "state" / "ca"


def initialise(stage: Stage) -> None:
    """`feiyu init`, and the zone's CA."""
    stage.write_config(stage.settings())
    names = [word for wire in FIRMS.values() for word in ("--name", wire.near[4])]
    root = ("--root", str(stage.directory / "safe"), "--name", "gw1.zone.example")
    for command in (("init",), ("ca", "init", *root, *names)):
        made = stage.feiyu(*command)
        assert made.returncode == 0, made.stderr


def with_more_ways(settings: Settings, files: Path) -> Settings:
    """The same node with SOCKS5, TLS (for the firm's token, as over plain HTTP) and transparent listeners for both
    firms, one for acme's certificates, listeners behind acme's balancer, and an inspector. files: of the CA."""
    near = FIRMS["acme"].near[4]
    behind = (f"{BALANCER}/32",)
    more = [Listener(name=f"socks-{firm}", kind="socks5", address=f"{FIRMS[firm].near[4]}:{SOCKS}") for firm in FIRMS]
    tls = Tls(certificate=str(files / "server.crt"), key=str(files / "server.key"))
    for firm in FIRMS:
        where = f"{FIRMS[firm].near[4]}:{SECURED}"
        more.append(Listener(name=f"tls-{firm}", kind="http", address=where, tls=tls))
    mutual = msgspec.structs.replace(tls, client_ca=str(files / "clients.pem"))
    where, demands = f"{near}:{CERTIFIED}", ("certificate", "prefix")
    more.append(Listener(name="certified-acme", kind="http", address=where, demands=demands, tls=mutual))
    more.append(Listener(name="socks-acme-6", kind="socks5", address=f"[{FIRMS['acme'].near[6]}]:{SOCKS}"))
    more.append(Listener(name="balanced", address=f"{near}:{BALANCED}", proxy_protocol=behind))
    more.append(Listener(name="socks-balanced", kind="socks5", address=f"{near}:{BALANCED + 1}", proxy_protocol=behind))
    for firm, wire in FIRMS.items():
        for version, address in ((4, wire.near[4]), (6, f"[{wire.near[6]}]")):
            name, where = f"transparent-{firm}-{version}", f"{address}:{TRANSPARENT}"
            taking = Listener(name=name, kind="transparent", address=where, interface=wire.device, demands=("prefix",))
            more.append(taking)
    return msgspec.structs.replace(settings, listeners=(*settings.listeners, *more), inspectors=1)


@contextlib.contextmanager
def running_node() -> Iterator[Node]:
    """Builds it all, and takes it all away."""
    with Stage("fyt", Timeouts(handshake=3, dial=3, drain=4)) as stage, WireCounter(stage.zone, DEFAULT) as counter:
        counter.reset()
        initialise(stage)
        rules = stage.directory / "rules"
        rules.mkdir()
        acting = Rules(paths=(str(rules),), action="act")
        whole = with_more_ways(stage.settings(), ca_files(stage))
        stage.write_config(msgspec.structs.replace(whole, rules=acting))
        stage.start()
        fill(stage, lambda _command, _said: None)
        stage.client("nobody", "acme", "")
        stage.client("guesser", "acme", f"{stage.credentials['acme']}:{'A' * 43}")
        identity = identity_of(stage, "acme")
        stage.client("displaced", "birch", identity)
        for line in ("hk1", "sg1"):
            assert stage.is_line(line, "up"), stage.last_words()
        yield Node(stage, counter)


def certificate_of(node: Node, tenant: str, label: str) -> tuple[Path, Path, str]:
    """What a firm's administrator and an operator do: a key and a request there, a certificate here. The files with key
    and certificate, and the credential's id."""
    stage = node.stage
    key, request, certificate = (stage.directory / f"{label}.{end}" for end in ("key", "csr", "crt"))
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(request), "-subj", "/CN=x"], check=True, capture_output=True
    )
    asked = ("--user", label, "--certificate", "--csr", str(request), "--out", str(certificate))
    return key, certificate, str(stage.ask("credential", "issue", tenant, *asked, *REASON)["credential"]["id"])


def identity_of(stage: Stage, client: str) -> str:
    """The "credential:token" of a client."""
    text = stage.clients[client].file.read_text()
    return text.partition('proxy-user = "')[2].partition('"')[0]
