"""What a running node says of itself; each process is asked by its own way in, so that a dead one hides no others."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.usage_damage import note_of
from ops.cli.errors import CliError
from ops.doctor import approvals, host, marks, rivals
from ops.doctor.finding import Finding, fail, ok, skip, warn
from ops.hub_client import HubError, send
from ops.settings import Settings
from telemetry.stream import state as streams
from telemetry.stream.spec import Sink
from whitelist.model import Line

LAG_LIMIT = 30  # seconds of recorder lag at which workers refuse new flows
SINK_LIMIT = 60  # seconds of a sink's lag that are worth a word


class Api(Protocol):
    """An HTTP client; every failure is a CliError."""

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""


def examine(settings: Settings, control: Api, recorder: Api) -> Iterator[Finding]:
    """All checks: hub, workers, lines, control, approvals, recorder, streams, spool, clock, and who else would steer
    packets."""
    run = Path(settings.run_dir)
    live: dict[str, Any] = {}
    try:
        live = send(run / "live.sock", {"kind": "status"}, timeout=2).get("status") or {}
        yield ok("hub", f"revision {live.get('revision')}, message {live.get('seq')}")
    except HubError as error:
        yield fail("hub", str(error), "start the node with feiyu up, or ask as root")
    if live:
        yield from hub_state(live, settings.worker_count, lines_in_use(control))
    yield from control_state(control, live)
    yield approvals.examine(settings)
    yield from lines_in_kernel(settings, control)
    yield from recorder_state(recorder)
    yield from streams_state(run, settings.streams)
    yield spool(run / "spool", settings.limits.spool_bytes)
    yield quotas(Path(settings.state_dir) / "usage" / "bytes")
    yield host.clock()
    yield from marks.examine(settings)
    yield from rivals.firewalls(Path("/"))


def lines_in_use(control: Api) -> set[str] | None:
    """Ids of the lines that are not retired; None where control does not say."""
    try:
        return {str(line["id"]) for line in control.get("/v1/lines")["items"] if not line.get("retired")}
    except CliError:
        return None


def hub_state(live: dict[str, Any], wanted: int, in_use: set[str] | None = None) -> Iterator[Finding]:
    """Workers, lines and kills as the hub knows them. in_use: the lines that are looked at; None: all."""
    workers = [peer for peer in live.get("subscribers", []) if peer.get("role") == "worker"]
    behind = [str(peer["name"]) for peer in workers if not peer.get("synced", True)]
    if len(workers) < wanted:
        yield fail(
            "workers", f"{len(workers)} of {wanted} are there", "see the supervisor's log: it restarts what dies"
        )
    elif behind:
        yield warn("workers", f"not yet in step: {', '.join(behind)}", "look again in a second")
    else:
        yield ok("workers", ", ".join(str(peer["name"]) for peer in workers))
    if not any(peer.get("role") == "lines" for peer in live.get("subscribers", [])):
        yield fail(
            "lines process", "it is not there", "see the supervisor's log; kernel rules stay, states do not change"
        )
    for line, state in sorted((live.get("lines") or {}).items()):
        if in_use is not None and line not in in_use:
            continue
        word = str(state.get("state") if isinstance(state, dict) else state)
        if word == "up":
            yield ok(f"line {line}", word)
        elif word == "draining":
            yield warn(f"line {line}", word, f"feiyu line undrain {line} when the work is done")
        else:
            yield fail(
                f"line {line}", word, "check its device and gateway; feiyu log search --kind line says since when"
            )
    for kill in live.get("kills") or []:
        about = f"{kill.get('scope')} {kill.get('value', '')}".strip()
        if kill.get("rule"):
            remedy = f"feiyu rule lift {kill.get('id')} ends it at once; rule {kill['rule']} asked for it"
            yield warn("block by a rule", f"{about} is {'slowed down' if kill.get('rate') else 'cut'}", remedy)
        else:
            yield warn("kill switch", f"{about} is cut", "release it when the incident is over")
    if live.get("persisted") is False:
        yield fail(
            "live state", "it could not be written", "free space below state_dir: kills would be lost at a restart"
        )


def control_state(control: Api, live: dict[str, Any]) -> Iterator[Finding]:
    """Whether control answers, and whether what it published is what the workers follow."""
    started = time.monotonic()
    try:
        status = control.get("/v1/status")
    except CliError as error:
        yield fail("control", str(error), "traffic goes on until max_staleness; see the supervisor's log")
        return
    yield ok("control", f"answers in {(time.monotonic() - started) * 1000:.0f} ms")
    published, followed = status.get("revision"), live.get("revision")
    if live and published is not None and published != followed:
        yield fail(
            "revision", f"control has {published}, workers follow {followed}", "see control's log: publishing failed"
        )
    elif published is not None:
        yield ok("revision", str(published))


def lines_in_kernel(settings: Settings, control: Api) -> Iterator[Finding]:
    """What stands in the kernel for the lines of the register."""
    try:
        items = control.get("/v1/lines")["items"]
    except CliError:
        yield skip("kernel rules", "control does not say which lines there are")
        return
    if away := host.devices_away(settings, items):
        remedy = "ask as root, in the node's network namespace: ip netns exec NAME, or nsenter --net --target PID"
        yield skip(
            "kernel rules", f"none of the node's devices is here: {away}; nothing of the kernel was read", remedy
        )
        return
    # the lines' code is loaded only here: it brings netlink with it
    from ops.doctor.kernel import read_back
    from ops.lines import lines_config

    yield from read_back(lines_config(settings).node, msgspec.convert(items, list[Line]))


def recorder_state(recorder: Api) -> Iterator[Finding]:
    """The recorder's own word, and how far it is behind."""
    try:
        health = recorder.get("/health")
    except CliError as error:
        yield fail("recorder", str(error), "records wait in the spool; new flows are refused after 30 s")
        return
    lag = health.get("lag", health.get("lag_seconds"))
    if isinstance(lag, int | float) and lag > LAG_LIMIT:
        yield fail("recorder", f"{lag:.0f} s behind", "its disk is too slow or full: see state_dir/log and evidence")
    elif damage := health.get("evidence_damage"):
        yield fail(
            "recorder", f"the evidence is damaged: {damage}", "feiyu evidence verify; restore that file from a copy"
        )
    elif isinstance(lag, int | float):
        yield ok("recorder", f"{lag:.1f} s behind")
    else:
        yield ok("recorder", "answers")


def streams_state(run: Path, sinks: tuple[Sink, ...]) -> Iterator[Finding]:
    """What the streams process says of each sink."""
    told = streams.read(run)
    if told is None:
        yield fail("streams", "nothing is heard of the process", "see the supervisor's log; records wait in the log")
        return
    known = {sink.name: sink for sink in told.sinks}
    for sink in sinks:
        found = known.get(sink.name)
        if found is None:
            yield warn(f"sink {sink.name}", "the process does not know it", "feiyu check, then reload the node")
        elif found.fault:
            yield fail(f"sink {sink.name}", found.fault, f"{found.lag_records} records wait in the log: mend {sink.to}")
        elif found.lag_seconds > SINK_LIMIT:
            yield warn(f"sink {sink.name}", f"{found.lag_seconds:.0f} s behind", "its other end is too slow")
        else:
            yield ok(f"sink {sink.name}", f"{found.lag_records} records behind")


def quotas(path: Path) -> Finding:
    """Whether what firms used of their quotas is known."""
    note = note_of(path)
    try:
        text = note.read_text().strip()
    except FileNotFoundError:
        return ok("quotas", "what firms used is known")
    except OSError as error:
        return skip("quotas", f"{note}: {error.strerror}", "ask as root")
    remedy = f"firms with a quota are refused until their period ends; their records tell what they used; rm {note}"
    return fail("quotas", text, f"{remedy} lets them go on")


def spool(directory: Path, limit: int) -> Finding:
    """Bytes not yet taken by the recorder, against the limit at which new flows are refused."""
    try:
        used = sum(entry.stat().st_size for entry in directory.iterdir() if entry.is_file())
    except FileNotFoundError:
        return fail("spool", f"{directory} is not there", "start the node with feiyu up")
    except PermissionError:
        return skip("spool", f"{directory} is not this account's to read", "ask as root")
    share = used * 100 // limit
    if share >= 80:
        return fail("spool", f"{used >> 20} MiB, {share} % of its limit", "see why the recorder does not keep up")
    return ok("spool", f"{used >> 10} KiB, {share} % of its limit")
