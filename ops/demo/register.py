"""What is put into the register of the demo, through the command line: two lines, two firms, services and grants."""

from collections.abc import Callable, Sequence

from ops.demo import world
from ops.demo.network import FIRMS, LINES
from ops.demo.stage import Stage, StageError

_CARRIERS = {"hk1": ("Hong Kong 1", "Carrier A", "IPLC-HK-0001"), "sg1": ("Singapore 1", "Carrier B", "IPLC-SG-0001")}
_FIRMS = {"acme": ("Acme Trading Ltd", "艾克米贸易"), "birch": ("Birch Data GmbH", "白桦数据")}
_SPECIAL = tuple(word for prefix in world.PREFIXES for word in ("--special-prefix", prefix))
REASON = ("--reason", "demo")


def _line(name: str) -> tuple[str, ...]:
    wire, (title, carrier, circuit) = LINES[name], _CARRIERS[name]
    ends = [("--gateway", wire.far[v], "--source", wire.near[v]) for v in (4, 6)]
    return (
        *("line", "add", name, "--device", wire.device, *ends[0], *ends[1], "--resolver", world.RESOLVERS[name]),
        *("--name", title, "--carrier", carrier, "--circuit", circuit),
    )


def _tenant(firm: str) -> tuple[str, ...]:
    wire, (name, name_zh) = FIRMS[firm], _FIRMS[firm]
    places = [word for p in wire.prefixes for word in ("--place", f"lingang-a/r{wire.number}/{wire.device}/{p}")]
    return ("tenant", "add", firm, "--name", name, "--name-zh", name_zh, *places, "--for", "30d")


def _service(name: str, *endpoints: str) -> tuple[str, ...]:
    return ("service", "add", name, *(word for e in endpoints for word in ("--endpoint", e)), *_SPECIAL)


def _grant(name: str, tenant: str, service: str, *lines: str) -> tuple[str, ...]:
    chosen = [word for line in lines for word in ("--line", line)]
    return ("grant", "add", "--id", name, "--tenant", tenant, "--service", service, *chosen, "--for", "30d")


ENTRIES: tuple[tuple[str, ...], ...] = (
    _line("hk1"),
    _line("sg1"),
    _tenant("acme"),
    _tenant("birch"),
    _service("search", f"tls://{world.SEARCH}:443", f"http://{world.SEARCH}:80"),
    _service("papers", f"tls://{world.PAPERS}:443", f"http://{world.PAPERS}:80"),
    _service("code", f"tls://{world.CODE}:443", f"tls://*.{world.CODE}:443"),
    _service("six", f"tls://{world.SIX}:443", f"http://{world.SIX}:80"),
    _service("inward", f"tls://{world.INWARD}:443"),
    _grant("g-search", "acme", "search", "hk1", "sg1"),
    _grant("g-papers", "acme", "papers", "hk1"),
    _grant("g-six", "acme", "six", "hk1", "sg1"),
    _grant("g-inward", "acme", "inward", "hk1"),
    _grant("g-code", "birch", "code", "sg1"),
)


def fill(stage: Stage, tell: Callable[[Sequence[str], str], None]) -> None:
    """Puts everything in, issues a credential to each firm and makes their clients. tell gets each command and what it
    said. Raises StageError for the first that fails."""
    for entry in ENTRIES:
        done = stage.feiyu(*entry, *REASON)
        if done.returncode:
            raise StageError(f"feiyu {' '.join(entry)}: exit {done.returncode}: {done.stderr.strip() or done.stdout}")
        tell(("feiyu", *entry, *REASON), done.stdout.strip())
    for firm in FIRMS:
        identifier, token = stage.issue(firm)
        tell(("feiyu", "credential", "issue", firm, "--user", "workstation 7", "--for", "30d", *REASON), identifier)
        stage.credentials[firm] = identifier
        stage.client(firm, firm, f"{identifier}:{token}")
        stage.client(f"{firm}-6", firm, f"{identifier}:{token}", version=6)
