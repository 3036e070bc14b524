"""The walk, first part: what a firm meets, step by step, each with real curl in the firm's namespace."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.cli.errors import CliError
from ops.demo import world
from ops.demo.client import ENVIRONMENT, Answer, Client
from ops.demo.counters import CounterError, WireCounter
from ops.demo.network import DEFAULT, FIRMS, GATEWAY, LINES, NetworkError
from ops.demo.report import Report
from ops.demo.stage import Stage, StageError
from whitelist.reason import WORDING, Reason


@dataclass
class Walk:
    """What the steps share. refs: references of refusals by the words they are remembered by."""

    stage: Stage
    report: Report
    counter: WireCounter
    refs: dict[str, str] = field(default_factory=dict)

    def curl(self, client: str, *arguments: str) -> Answer:
        """Runs curl for a firm and shows command, status lines, and body or error."""
        answer = self.stage.clients[client].curl(*arguments)
        self.report.ran(answer.command)
        self.report.got(*(head.split("\n", 1)[0] for head in answer.heads))
        if answer.exit:
            self.report.got(f"curl: ({answer.exit}) {answer.error}")
        elif answer.json.get("client"):
            self.report.got(answer.body.strip())
        return answer

    def feiyu(self, *arguments: str, lines: int = 8) -> subprocess.CompletedProcess[str]:
        """Runs an operator's command and shows what it says."""
        done = self.stage.feiyu(*arguments)
        self.report.ran("feiyu " + subprocess.list2cmdline(arguments))
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()
        self.report.got(*said[:lines], *([f"… {len(said) - lines} more"] if len(said) > lines else []))
        return done

    def arrived(self, answer: Answer, line: str, version: int = 4) -> bool:
        """Checks that the service answered and saw the line's own address."""
        address = LINES[line].near[version]
        seen = answer.json.get("client")
        return self.report.check(
            f"已到达；服务看到的是专线 {line} 的地址 {address}",
            f"arrived; the service saw {address}, the address of line {line}",
            ok=answer.exit == 0 and answer.status == 200 and seen == address,
            found=f"{answer.status_line or answer.error}, seen {seen}",
        )

    def refused(self, answer: Answer, reason: Reason) -> bool:
        """Checks status line, reference and reason of a refusal."""
        status = WORDING[reason].status
        return self.report.check(
            f"被拒绝：{status} {WORDING[reason].title_zh}，编号 {answer.ref}",
            f"refused: {status} {reason}, reference {answer.ref}",
            ok=answer.status == status and answer.reason == reason and bool(answer.ref),
            found=f"{answer.status_line or answer.error} {answer.header('Proxy-Status')}",
        )


def counter_sees(walk: Walk) -> None:
    """Before anything of the gateway runs: what goes out by the default wire is seen."""
    report, zone = walk.report, walk.stage.zone
    report.step("默认线路上的计数器看得见", "The counter on the default wire does see")
    report.note(
        f"网关软件尚未启动，故意从 {DEFAULT.device} 发出请求",
        f"nothing of the gateway runs yet; on purpose, by {DEFAULT.device}",
    )
    for address in world.NAMES[world.SEARCH]:
        url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
        done = zone.run(GATEWAY, ["curl", "-sS", "-m", "5", url], env=ENVIRONMENT)
        report.ran(f"nsenter --net={zone.path(GATEWAY)} curl -sS {url}")
        report.got(done.stdout.strip() or done.stderr.strip())
    count = walk.counter.read()
    report.check(
        f"计数器看到：{count}",
        f"the counter saw {count}",
        ok="IPv4 TCP" in count.kinds and "IPv6 TCP" in count.kinds,
        found=count,
    )
    walk.counter.reset()
    report.note(
        "计数器归零；从现在起这条线路必须保持静默", "counter set to zero; from now on this wire must stay silent"
    )


def allowed(walk: Walk) -> None:
    """A service on the whitelist, by each way."""
    report = walk.report
    report.step("白名单内的服务", "A service on the whitelist")
    walk.arrived(walk.curl("acme", f"https://{world.SEARCH}/"), "hk1", 6)  # IPv6 first where a name has both
    report.step("只有 IPv6 的服务，客户端也经 IPv6 接入", "A service with IPv6 only, asked for over IPv6 too")
    walk.arrived(walk.curl("acme-6", f"https://{world.SIX}/"), "hk1", 6)
    report.step("明文 HTTP（absolute-form）", "Plain HTTP, in absolute form")
    answer = walk.curl("acme", f"http://{world.SIX}/a/page?q=1")
    walk.arrived(answer, "hk1", 6)
    leaked = [name for name in answer.json.get("headers", []) if name.startswith("proxy-")]
    report.check("代理凭证没有传给服务", "the service was not shown the proxy credential", ok=not leaked, found=leaked)


def refusal(walk: Walk) -> None:
    """A service that nobody was granted, and what the operator sees of it."""
    walk.report.step("不在白名单内", "Not on the whitelist")
    answer = walk.curl("acme", f"https://{world.VIDEO}/")
    walk.refused(answer, Reason.NOT_WHITELISTED)
    if not answer.ref:
        return
    walk.stage.record(ref=answer.ref)
    done = walk.feiyu("explain", "--ref", answer.ref, "--lang", "zh")
    walk.report.check(
        "运营方凭编号可查明原因", "the operator finds the reason by the reference",
        ok=done.returncode == 1 and Reason.NOT_WHITELISTED in done.stdout, found=f"exit {done.returncode}",
    )  # fmt: skip
    walk.report.step("指向园区内部的域名", "A granted name that leads back inside")
    walk.refused(walk.curl("acme", f"https://{world.INWARD}/"), Reason.ADDRESS_FORBIDDEN)


def strangers(walk: Walk) -> None:
    """Nobody, somebody with a wrong token, somebody at the wrong place."""
    stage = walk.stage
    walk.report.step("陌生人：没有凭证，或令牌错误", "A stranger: no credential, or a wrong token")
    stage.client("nobody", "acme", "")
    stage.client("guesser", "acme", f"{stage.credentials['acme']}:{'A' * 43}")
    stage.client("displaced", "birch", _identity(stage.clients["acme"]))
    walk.refused(walk.curl("nobody", f"https://{world.SEARCH}/"), Reason.IDENTITY_UNKNOWN)
    walk.refused(walk.curl("guesser", f"https://{world.SEARCH}/"), Reason.IDENTITY_UNKNOWN)
    walk.report.step("拿着别家企业的凭证", "Another firm's credential")
    walk.refused(walk.curl("displaced", f"https://{world.SEARCH}/"), Reason.SOURCE_NOT_ALLOWED)
    walk.report.step("访问别家企业获准的服务", "Another firm's service")
    walk.arrived(walk.curl("birch", f"https://{world.CODE}/"), "sg1")
    walk.refused(walk.curl("acme", f"https://{world.CODE}/"), Reason.NOT_WHITELISTED)
    walk.refused(walk.curl("birch", f"https://{world.SEARCH}/"), Reason.NOT_WHITELISTED)


def _identity(client: Client) -> str:
    line = next(line for line in client.file.read_text().splitlines() if line.startswith("proxy-user"))
    return line.partition(" = ")[2].strip('"')


def bypass(walk: Walk) -> None:
    """Without the proxy there is no way; nor has the gateway itself one."""
    report, zone = walk.report, walk.stage.zone
    report.step("绕过代理直接访问", "Past the proxy")
    address = world.NAMES[world.SEARCH][0]
    tries = ((FIRMS["acme"].ns, "企业", "the firm"), (GATEWAY, "网关主机上的程序", "a program on the gateway"))
    for ns, zh, en in tries:
        done = zone.run(ns, ["curl", "-sS", "-m", "1", f"http://{address}/"], env=ENVIRONMENT)
        report.ran(f"nsenter --net={zone.path(ns)} curl -m 1 http://{address}/")
        report.got(done.stdout.strip() or done.stderr.strip())
        report.check(
            f"{zh}没有别的出路", f"{en} has no other way out", ok=done.returncode in (7, 28), found=done.stdout
        )


def other_name(walk: Walk) -> None:
    """CONNECT to a permitted host, then the name of another in the ClientHello."""
    report = walk.report
    report.step("CONNECT 与 SNI 不一致", "SNI that differs from CONNECT")
    way = f"{world.VIDEO}:443:{world.SEARCH}:443"
    answer = walk.curl("acme", "--connect-to", way, f"https://{world.VIDEO}/")
    report.check(
        "TLS 握手以警报 112（unrecognized_name）中断", "the handshake ends with TLS alert 112, unrecognized_name",
        ok=answer.exit == 35 and "unrecognized name" in answer.error, found=f"{answer.exit} {answer.error}",
    )  # fmt: skip
    record = walk.stage.record(reason=Reason.NAME_MISMATCH, tenant="acme")
    report.check(
        f"记录：{record.get('host')} ≠ SNI {record.get('sni')}",
        f"record: {record.get('kind')}, {record.get('cause')}, {record.get('reason')}",
        ok=record.get("sni") == world.VIDEO and record.get("host") == world.SEARCH, found=record,
    )  # fmt: skip


def take(walk: Walk, step: Callable[[Walk], None]) -> None:
    """One step; an error in it is a failed check and ends only this step."""
    try:
        step(walk)
    except (StageError, CliError, CounterError, NetworkError, OSError, subprocess.SubprocessError) as error:
        walk.report.check("此步骤未能完成", f"the step {step.__name__} did not come to its end", ok=False, found=error)
