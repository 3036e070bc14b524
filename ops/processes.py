"""Which processes a node has, what each may do, and what it finds in its environment."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

import configs
import ops
from ops import acts_log, listeners, privileges
from ops.privileges import CAP_NET_ADMIN, CAP_NET_RAW, Privileges
from ops.settings import Settings
from ops.spawn import ProcessSpec
from telemetry.evidence.cosigned import COSIGNED
from telemetry.evidence.integrate import DIRECTORY
from telemetry.evidence.keys import NAME

CODE = Path(ops.__file__).parent.parent
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "HOME")  # all else of the supervisor's environment stays with it

type Share = Callable[[int], dict[str, list[int]]]
type Plan = Callable[[Settings, Path, str, Share], list[ProcessSpec]]


def plan(settings: Settings, config: Path, boot: str, share: Share) -> list[ProcessSpec]:
    """All processes, in the order of starting. config is the file that children read; share gives a worker slot's
    descriptors by listener."""
    users, environment = settings.users, environment_of(config, boot)
    recorder = (
        *("--state-dir", settings.state_dir, "--run-dir", settings.run_dir),
        *("--node", settings.node, "--boot", boot, "--metrics", settings.metrics.address),
        *("--evidence-interval", str(settings.evidence.interval)),
        *("--retention-days", str(settings.retention.days)),
        *("--personal-days", str(settings.retention.personal_days if settings.evidence.personal == "sealed" else 0)),
        *("--signatures", *settings.evidence.signatures),
        *("--witness", *(witness.key for witness in settings.evidence.witnesses)),
        *(word for path in rule_paths(settings) for word in ("--rules", path)),
        *(("--act",) if settings.rules.action == "act" else ()),
    )
    streams = (
        *("--state-dir", settings.state_dir, "--run-dir", settings.run_dir, "--node", settings.node),
        *("--sinks", msgspec.json.encode(settings.streams).decode()),
    )
    return [
        ProcessSpec(
            name="recorder",
            role="recorder",
            argv=module("telemetry.recorder", *recorder),
            environment=environment,
            privileges=allowed(users.recorder, users.group),
        ),
        *([notary(settings, config, environment)] if settings.zone else []),
        ProcessSpec(
            name="control",
            role="control",
            argv=module("ops.control", "--config", str(config)),
            environment=environment,
            privileges=allowed(users.control, users.group),
        ),
        *cosigner(settings, environment),
        ProcessSpec(
            name="streams",
            role="streams",
            argv=module("telemetry.stream.main", *streams),
            environment=environment,
            privileges=allowed(users.streams, users.group),
        ),
        ProcessSpec(
            name="lines",
            role="lines",
            argv=module("ops.lines"),
            environment=environment,
            privileges=allowed(users.lines, users.group, CAP_NET_ADMIN),
        ),
        *(inspector(settings, environment, number) for number in range(settings.inspectors)),
        *(
            worker(settings, environment, slot, share(slot), module("ops.worker"))
            for slot in range(settings.worker_count)
        ),
    ]


def cosigner(settings: Settings, environment: dict[str, str]) -> list[ProcessSpec]:
    """Who asks the witnesses, where there are any. It has a user of its own, since it talks to machines elsewhere."""
    evidence, state = settings.evidence, Path(settings.state_dir)
    if not evidence.witnesses:
        return []
    arguments = (
        *(f"--log={log.name}={log}" for log in (state / DIRECTORY / NAME, state / acts_log.DIRECTORY / acts_log.NAME)),
        *("--out", str(state / COSIGNED), "--quorum", str(evidence.needed)),
        *(f"--witness={witness.url}={witness.key}" for witness in evidence.witnesses),
    )
    return [
        ProcessSpec(
            name="cosigner",
            role="cosigner",
            argv=module("telemetry.witness.cosigner", *arguments),
            environment=environment,
            privileges=allowed(settings.users.cosigner, settings.users.group),
        )
    ]


def notary(settings: Settings, config: Path, environment: dict[str, str]) -> ProcessSpec:
    """The notary, where the configuration names the zone's first accounts."""
    return ProcessSpec(
        name="notary",
        role="notary",
        argv=module("ops.notary", "--config", str(config)),
        environment=environment,
        privileges=allowed(settings.users.notary, settings.users.group),
    )


def notary_uid(settings: Settings) -> int | None:
    """Whose files an admission must be, as one of the node's processes sees it; None where all share one user."""
    users = settings.users
    own = {users.worker, users.lines, users.control}
    return users.notary if users.base and os.geteuid() in own else None


def rule_paths(settings: Settings) -> list[str]:
    """Where the node's detection rules are: the starter pack, and what the configuration names."""
    pack = [str(Path(configs.__file__).parent / "sigma")] if settings.rules.pack == "starter" else []
    return [*pack, *settings.rules.paths]


def worker(
    settings: Settings, environment: dict[str, str], slot: int, share: dict[str, list[int]], argv: tuple[str, ...]
) -> ProcessSpec:
    """One worker. It has five seconds beyond its drain timeout to write the closing records."""
    return ProcessSpec(
        name=f"w{slot}",
        role="worker",
        argv=argv,
        environment=environment | {"FEIYU_LISTEN_FDS": listeners.environment(share)},
        privileges=allowed(settings.users.worker, settings.users.group, CAP_NET_RAW),
        fds=tuple(descriptor for descriptors in share.values() for descriptor in descriptors),
        announces=True,
        stop_timeout=settings.timeouts.drain + 5,
    )


def inspector(settings: Settings, environment: dict[str, str], number: int) -> ProcessSpec:
    """One inspector: it reads what is decrypted, so it holds nothing else, and reaches nobody but workers."""
    users, state = settings.users, Path(settings.state_dir) / "inspection"
    uid = allowed(users.worker, users.group).uid
    return ProcessSpec(
        name=f"i{number}",
        role="inspector",
        argv=module(
            "gateway.inspection.process",
            *("--socket", str(Path(settings.run_dir) / f"inspector{number}.sock"), "--authorities", str(state)),
            *("--usage", str(state / f"usage{number}.json"), "--worker-uid", str(os.geteuid() if uid is None else uid)),
        ),
        environment=environment,
        privileges=replace(allowed(users.inspector, users.group), isolated=True),
        stop_timeout=5.0,
    )


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this project; -P keeps the current directory out of its imports."""
    return (sys.executable, "-P", "-m", name, *arguments)


def environment_of(config: Path, boot: str) -> dict[str, str]:
    """What every child finds in its environment."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"FEIYU_CONFIG": str(config), "FEIYU_BOOT": boot, "PYTHONPATH": str(CODE)}
    return inherited | own | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def allowed(uid: int | None, gid: int | None, *capabilities: int) -> Privileges:
    """Privileges of a process. The user is kept where this process cannot change it."""
    if uid is not None and not privileges.usable(uid):
        uid = gid = None
    return Privileges(uid=uid, gid=gid, capabilities=frozenset(capabilities))


def cannot_run(settings: Settings) -> str:
    """ "" or why the node's users could not run this project: an interpreter below /root is nobody else's."""
    users = settings.users
    if users.worker is None or users.group is None or not privileges.usable(users.worker):
        return ""
    needed = [Path(sys.executable), Path(os.__file__), Path(msgspec.__file__), Path(ops.__file__)]
    closed = privileges.unreachable(needed, users.worker, users.group)
    if closed is None:
        return ""
    why = f"users: uid {users.worker} could not run {sys.executable}: {closed} is closed to it"
    return f"{why}; install where every user may read, or set users.base to 0"
