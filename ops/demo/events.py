"""The walk, second part: what happens while connections run, and what is left of it all."""

import subprocess
import time
from collections.abc import Callable

from ops.demo import world
from ops.demo.network import DEFAULT, GATEWAY, LINES, end
from ops.demo.stage import Stage
from ops.demo.walk import Walk, allowed, bypass, other_name, refusal, strangers
from whitelist.reason import Reason

CUT_SECONDS = 1.0  # in which a flow that lost its grant is cut


def line_down(walk: Walk) -> None:
    """The first line loses its far end: the designated second one takes over, or nothing does."""
    report, stage = walk.report, walk.stage
    report.step("专线 hk1 中断", "Line hk1 goes down")
    stage.zone.cut(LINES["hk1"])
    report.ran(f"ip -n {stage.zone.prefix}{LINES['hk1'].ns} link set gw down")
    report.check("网关已知 hk1 中断", "the gateway knows", ok=stage.is_line("hk1", "down"), found=stage.line_states())
    report.note("search 授权了 hk1 和 sg1", "search is granted over hk1, then sg1")
    walk.arrived(walk.curl("acme", f"https://{world.SEARCH}/"), "sg1", 6)
    report.note("papers 只授权了 hk1", "papers is granted over hk1 alone")
    walk.refused(walk.curl("acme", f"https://{world.PAPERS}/"), Reason.LINE_UNAVAILABLE)
    stage.zone.mend(LINES["hk1"])
    report.ran(f"ip -n {stage.zone.prefix}{LINES['hk1'].ns} link set gw up")
    report.check("hk1 恢复", "hk1 is back", ok=stage.is_line("hk1", "up"), found=stage.line_states())
    walk.arrived(walk.curl("acme", f"https://{world.PAPERS}/"), "hk1", 6)


def flow_to(stage: Stage, host: str, since: float, seconds: float = 5.0) -> str:
    """The id of the flow to a host that opened since a moment (Unix seconds), once it is open. Raises StageError."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [
            str(flow["flow"]) for flow in stage.open_flows() if flow["host"] == host and flow["time"] >= since * 1e6
        ]
        return bool(found)

    stage.wait(there, f"no flow to {host} is open", seconds)
    return found[0]


def revocation(walk: Walk) -> None:
    """A grant revoked while a download runs."""
    report, stage = walk.report, walk.stage
    report.step("下载进行中撤销授权", "A grant revoked while a download runs")
    arguments = (f"https://{world.PAPERS}/download?bytes=1000000000&rate=2000000",)
    client = stage.clients["acme"]
    report.ran(client.shown("-o", "/dev/null", *arguments) + " &")
    started = time.time()
    download = client.start(*arguments)
    try:
        flow = flow_to(stage, world.PAPERS, started)
        walk.feiyu("flow", "list")
        report.check(
            "下载在运行", "the download runs", ok=download.poll() is None, found=f"curl ended with {download.poll()}"
        )
        done = walk.feiyu("grant", "revoke", "g-papers", "--reason", "demo")
        told = time.monotonic()
        try:
            download.wait(10)
        except subprocess.TimeoutExpired:
            pass
        took = time.monotonic() - told
        report.check(
            f"撤销命令返回后 {took:.2f} 秒内连接被切断",
            f"cut {took:.2f} s after the command returned (curl: {download.poll()})",
            ok=done.returncode == 0 and bool(download.poll()) and took < CUT_SECONDS, found=f"{took:.1f} s",
        )  # fmt: skip
    finally:
        end(download)
    stage.record(flow=flow, kind="close")
    closes = stage.records(flow=flow, kind="close")
    seen = closes[0] if closes else {}
    report.check(
        f"恰好一条关闭记录：{seen.get('cause')}，下行 {seen.get('bytes_in', 0):,} 字节",
        f"exactly one closing record: {seen.get('cause')}",
        ok=len(closes) == 1 and seen["cause"] == "cut-by-policy" and seen["bytes_in"] > 0, found=closes,
    )  # fmt: skip
    walk.refused(walk.curl("acme", f"https://{world.PAPERS}/"), Reason.NOT_WHITELISTED)


def evidence(walk: Walk) -> None:
    """Everything so far is on disk and in /metrics."""
    report, stage = walk.report, walk.stage
    report.step("记录与指标", "Records and metrics")
    walk.feiyu("log", "search", "--tenant", "acme", "--kind", "deny", "--limit", "5")
    walk.feiyu("flow", "list")
    denied = stage.records(kind="deny", limit=100)
    expected = {Reason.NOT_WHITELISTED, Reason.IDENTITY_UNKNOWN, Reason.SOURCE_NOT_ALLOWED, Reason.LINE_UNAVAILABLE}
    missing = expected - {r["reason"] for r in denied}
    report.check("每次拒绝都有记录", "every refusal has its record", ok=not missing, found=f"missing {missing}")
    files = sorted((stage.directory / "state" / "log").glob("**/*"))
    size = sum(file.stat().st_size for file in files if file.is_file())
    report.ran(f"ls {stage.directory}/state/log")
    report.got(", ".join(file.name for file in files), f"{size:,} bytes")
    report.check("记录已落盘", "the records are on disk", ok=size > 0)
    metrics = stage.metrics()
    report.ran(f"nsenter --net={stage.zone.path(GATEWAY)} curl -s http://127.0.0.1:9464/metrics")
    shown = [name for name in metrics if name.startswith(("feiyu_flows_", "feiyu_refusals_total", "feiyu_line_state"))]
    report.got(*(f"{name} {metrics[name]:g}" for name in shown if "created" not in name))
    counted = metrics.get('feiyu_refusals_total{reason="not-whitelisted"}', 0)
    here = sum(r["reason"] == Reason.NOT_WHITELISTED for r in denied)
    report.check(
        f"/metrics 与记录一致：not-whitelisted {here} 次", f"/metrics agrees with the records: not-whitelisted {here}",
        ok=counted == here > 0, found=counted,
    )  # fmt: skip


def silence(walk: Walk) -> None:
    """Nothing went out by the default wire."""
    report = walk.report
    report.step("默认线路", "The default wire")
    count = walk.counter.read()
    report.note(
        f"自归零以来 {DEFAULT.device} 上共见：{count}", f"seen on {DEFAULT.device} since it was set to zero: {count}"
    )
    report.check(
        f"内核自身的 ND/MLD（{count.kernel}）之外：{count.stray} 个包",
        f"beside the kernel's own ND/MLD ({count.kernel}): {count.stray} packets",
        ok=count.stray == 0, found=count,
    )  # fmt: skip


STEPS: tuple[Callable[[Walk], None], ...] = (
    allowed, refusal, strangers, other_name, bypass, line_down, revocation, evidence, silence,
)  # fmt: skip
