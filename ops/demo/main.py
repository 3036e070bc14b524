"""`feiyu demo`: a whole small zone in network namespaces, walked through and left running until Ctrl-C.

Needs root, or a system that lets an ordinary user have a user namespace. Changes nothing outside the namespaces it
makes, and takes everything away when it ends.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ops import processes
from ops.demo import interrupt, world
from ops.demo.client import ENVIRONMENT
from ops.demo.counters import WireCounter
from ops.demo.events import STEPS
from ops.demo.network import DEFAULT, FIRMS, GATEWAY, LINES, NetworkError, sweep
from ops.demo.register import fill
from ops.demo.report import Report
from ops.demo.stage import PORT, Stage, StageError
from ops.demo.walk import Walk, counter_sees, take

PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "curl": "curl",
    **dict.fromkeys(("nsenter", "setpriv", "unshare", "mount"), "util-linux"),
}
_WITHIN = "FEIYU_DEMO_WITHIN"  # set once we are in a user namespace of our own


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 all passed, 1 something failed, 2 it cannot run here (it says what to do)."""
    parser = argparse.ArgumentParser(prog="feiyu demo", description="a whole small zone in network namespaces")
    parser.add_argument("--once", action="store_true", help="end after the walk")
    given = sys.argv[1:] if arguments is None else arguments
    chosen = parser.parse_args(given)
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{ENVIRONMENT['PATH']}".lstrip(":")
    if why := cannot_run(given):
        print(why, file=sys.stderr)
        return 2
    return demonstrate(once=chosen.once)


def cannot_run(arguments: Sequence[str]) -> str:
    """ "" where this process may make namespaces, or what to do. Where only a user namespace can help it does not
    return: the program starts again in one, with these arguments."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        return f"缺少软件包 · missing: apt-get install {' '.join(sorted(missing))}"
    if os.environ.get(_WITHIN):
        # /run/netns is for real root only; here it is a memory file system of our own mount namespace.
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, text=True, check=False)
        return f"cannot mount /run: {done.stderr.strip()}" if done.returncode else ""
    if os.geteuid() == 0 and _can("unshare", "--net", "true"):
        return ""
    own = ("unshare", "--user", "--map-root-user", "--net", "--mount")
    if _can(*own, "mount", "-t", "tmpfs", "tmpfs", "/run"):
        os.environ[_WITHIN] = "1"
        sys.stdout.flush()
        program = processes.module("ops.demo.main", *arguments)
        os.environ["PYTHONPATH"] = str(processes.CODE)
        os.execvp("unshare", [*own, *program])  # noqa: S606 - ourselves again
    return (
        "演示需要网络命名空间 · the demo needs network namespaces.\n"
        "请以 root 运行（sudo make demo），或允许用户命名空间\n"
        "Run it as root (sudo make demo), or allow user namespaces:\n"
        "  sysctl -w user.max_user_namespaces=10000                      # Linux\n"
        "  sysctl -w kernel.unprivileged_userns_clone=1                  # Debian 10\n"
        "  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0      # Ubuntu 24.04"
    )


def _can(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


def demonstrate(*, once: bool) -> int:
    """The whole demo."""
    report = Report()
    interrupt.install()
    try:
        with contextlib.ExitStack() as stack:
            try:
                walk_through(report, stack, once=once)
            finally:
                interrupt.ignore()
    except KeyboardInterrupt:
        print("\n已停止，全部清理完毕 · stopped, and everything taken away", flush=True)
        return 130 if once or not report.complete else int(report.failed > 0)
    return int(report.failed > 0)


def walk_through(report: Report, stack: contextlib.ExitStack, *, once: bool) -> None:
    """Builds, walks, and stays up unless once."""
    sweep()
    try:
        report.step("搭建网络", "Building the network")
        stage = Stage()
        stack.callback(stage.close)  # before it is entered: a signal may come at any moment
        stage.__enter__()
        describe(report, stage)
        walk = Walk(stage, report, stack.enter_context(WireCounter(stage.zone, DEFAULT)))
        take(walk, counter_sees)
        start(report, stage)
    except (StageError, NetworkError, OSError, subprocess.SubprocessError) as error:
        report.check("环境启动", "the zone starts", ok=False, found=error)
    else:
        for step in STEPS:
            take(walk, step)
        if not once:
            stay(report, stage)
    report.ended()


def describe(report: Report, stage: Stage) -> None:
    """The addresses of everything."""
    zone = stage.zone
    rows = [(f"{f} ({zone.prefix}{w.ns})", w.device, f"{w.far[4]}  {w.far[6]}") for f, w in FIRMS.items()]
    rows += [(f"line {name}", w.device, f"{w.near[4]}  {w.near[6]}") for name, w in LINES.items()]
    rows.append(("default wire, must stay silent", DEFAULT.device, f"{DEFAULT.near[4]}  {DEFAULT.near[6]}"))
    rows += [("abroad", name, "  ".join(addresses)) for name, addresses in world.NAMES.items()]
    report.table(rows)


def start(report: Report, stage: Stage) -> None:
    """feiyu init, feiyu up, and the register. Raises StageError."""
    zone = stage.zone
    report.step("初始化并启动网关", "feiyu init, feiyu up")
    stage.write_config(stage.settings())
    report.ran(f"export FEIYU_CONFIG={stage.config}")
    done = stage.feiyu("init")
    report.ran("feiyu init")
    report.got(*(done.stderr or done.stdout).strip().splitlines())
    report.check("节点已初始化", "the node is set up", ok=done.returncode == 0, found=done.returncode)
    report.ran(f"nsenter --net={zone.path(GATEWAY)} feiyu up")
    stage.start()
    running = [f"{child['name']} ({child['pid']})" for child in stage.liveness().get("children", [])]
    report.check(
        f"进程已就绪：{', '.join(running)}", f"{len(running)} processes are ready", ok=len(running) == 6, found=running
    )
    report.step("登记企业、服务、授权、专线", "Firms, services, grants and lines are put in")

    def tell(command: Sequence[str], said: str) -> None:
        report.ran(subprocess.list2cmdline(command))
        report.got(*said.splitlines()[:1])

    fill(stage, tell)
    stage.wait(lambda: stage.line_states() == dict.fromkeys(LINES, "up"), "the lines are not up")
    report.check("两条专线可用", "both lines are up", ok=True)


def stay(report: Report, stage: Stage) -> None:
    """Leaves everything running until a signal."""
    zone, directory = stage.zone, stage.directory
    report.ended()
    report.step("演示环境保持运行，按 Ctrl-C 结束", "The zone stays up until Ctrl-C")
    within = bool(os.environ.get(_WITHIN))
    enter = f"nsenter -t {os.getpid()} -U -m --preserve-credentials " if within else ""
    report.table(
        [
            ("代理 · proxy", "  ".join(f"{firm}: http://{w.near[4]}:{PORT}" for firm, w in FIRMS.items())),
            ("目录 · directory", str(directory)),
            ("日志 · log", str(stage.log)),
        ]
    )
    feiyu = Path(sys.executable).with_name("feiyu")
    curl = f"nsenter --net={zone.path('acme')} curl -K {directory}/acme.curl"
    for command in (
        f"{enter}{curl} https://{world.SEARCH}/",
        f"{enter}{curl} https://{world.VIDEO}/",
        f"{enter}nsenter --net={zone.path(GATEWAY)} curl -s http://127.0.0.1:9464/metrics",
        f"FEIYU_CONFIG={stage.config} {feiyu} status",
        f"FEIYU_CONFIG={stage.config} {feiyu} log tail",
    ):
        report.ran(command)
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
