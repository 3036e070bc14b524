"""feiyu policy against files alone, and against a real control: what is planned is what is applied."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cli.main import run
from telemetry.record import Record, encode
from telemetry.segments import segment_name
from tests.ops.test_cli_control import Feiyu, node  # noqa: F401 - the fixture

SHOP = """\
feiyu: policy/1
defaults: {{lines: [{0}-line], from: 2026-01-01, until: 2036-01-01}}

services:
  - {{id: {0}-shop, name: Shop, endpoints: [tls://shop.{0}.example:443]}}

grants:
  - {{tenant: {0}, service: {0}-shop}}

tests:
  - {{name: the shop is reached, tenant: {0}, groups: [any], target: shop.{0}.example, verdict: {1}}}
"""


@pytest.fixture
def offline(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Feiyu]:
    """The command where no node is."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("FEIYU_SERVER", str(tmp_path / "nowhere.sock"))
    return Feiyu(tmp_path / "none.yaml", capsys)


@pytest.fixture
def feiyu(node: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Feiyu:  # noqa: F811
    """The command in English, at a real control."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("FEIYU_SERVER", raising=False)
    return Feiyu(node, capsys)


def written(tmp_path: Path, content: str) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(content)
    return str(path)


def test_lint_and_test_need_no_node(offline: Feiyu, tmp_path: Path) -> None:
    good = written(tmp_path, SHOP.format("acme", "permit"))
    assert offline("policy", "lint", good) == ""
    assert offline.err.strip() == "0 errors, 0 warnings"
    assert "1 tests passed, 0 failed" in offline("policy", "test", good)
    assert "taken to lead abroad: acme-line" in offline.err
    wrong = written(tmp_path, SHOP.format("acme", "permit").replace("target: shop", "target: www.shop"))
    told = offline("policy", "test", wrong, code=1)
    assert "policy.yaml:11: the shop is reached: expected permit, got not-whitelisted" in told
    bad = written(tmp_path, SHOP.format("acme", "permit").replace("shop.acme.example:443", "*.com:443"))
    told = offline("policy", "lint", bad, code=1)
    assert "policy.yaml:5: endpoints[0].target covers everybody's names under the public suffix com; name the" in told
    assert offline.json("policy", "lint", bad, code=1)[0]["level"] == "error"


def test_what_cannot_be_read_is_exit_2_with_each_line(offline: Feiyu, tmp_path: Path) -> None:
    offline("policy", "test", written(tmp_path, "feiyu: policy/1\ngrant: []\nx: 1\n"), code=2)
    assert "policy.yaml:2: unknown key 'grant'; expected 'grants', perhaps" in offline.err
    assert "policy.yaml:3: unknown key 'x'" in offline.err
    offline("policy", "test", str(tmp_path / "none"), code=2)
    assert "none:1: cannot be read: No such file" in offline.err


def test_fmt_writes_and_check_only_says(offline: Feiyu, tmp_path: Path) -> None:
    path = Path(written(tmp_path, "feiyu:   policy/1 # v\ngroups: [{id: a}]\n"))
    before = path.read_text()
    offline("policy", "fmt", "--check", str(path), code=1)
    assert path.read_text() == before
    offline("policy", "fmt", str(path))
    assert path.read_text() == "feiyu: policy/1  # v\n\ngroups:\n  - {id: a}\n"
    offline("policy", "fmt", "--check", str(path))


def test_plan_apply_diff_history_and_rollback(feiyu: Feiyu, tmp_path: Path) -> None:
    feiyu(
        "tenant", "add", "p1", "--name", "P1", "--place", "s1/r1/acc0/10.81.0.0/24", "--for", "12mo", "--reason", "new"
    )
    addresses = ("--gateway", "192.0.2.1", "--source", "10.81.0.254", "--resolver", "192.0.2.53")
    feiyu("line", "add", "p1-line", "--device", "l-p1", *addresses, "--reason", "new")
    path = written(tmp_path, SHOP.format("p1", "permit").replace(", groups: [any]", ""))

    plan = feiyu("policy", "plan", path)
    assert "+ services/p1-shop  tls://shop.p1.example:443" in plan
    assert "gains: tenant:p1 · service:p1-shop" in plan
    assert "1 tests passed, 0 failed" in plan
    assert "2 to add, 0 to change, 0 to take away; 0 stand already" in plan
    revision = feiyu.json("policy", "plan", path)["revision"]
    assert f"feiyu policy apply {path} --if-match {revision} --reason" in feiyu.err

    feiyu("policy", "apply", path, "--reason", "request 31", code=2)
    assert "--if-match REVISION" in feiyu.err
    feiyu("policy", "apply", path, "--if-match", str(revision - 1), "--reason", "request 31", code=4)
    assert f"the register is at revision {revision}: " in feiyu.err
    applied = feiyu("policy", "apply", path, "--if-match", str(revision), "--reason", "request 31")
    assert f"revision {revision + 1} · not enforced yet: " in applied
    assert applied.rstrip().endswith("marked bootstrap")
    feiyu("explain", "p1", "shop.p1.example")
    assert feiyu("policy", "diff", path) == ""
    assert "nothing differs" in feiyu.err

    later = written(tmp_path, SHOP.format("p1", "permit").replace(", groups: [any]", "").replace("2036", "2037"))
    told = feiyu("policy", "diff", later, code=1)
    assert "valid_until: 2036-01-01 24:00 → 2037-01-01 24:00" in told

    rows = feiyu.json("policy", "history", "--limit", "1")
    assert (rows[0]["revision"], rows[0]["changes"], rows[0]["reason"]) == (revision + 1, 2, "request 31")
    feiyu("policy", "rollback", str(revision), "--if-match", str(revision + 1), "--reason", "incident 4")
    feiyu("explain", "p1", "shop.p1.example", code=1)
    assert feiyu.json("policy", "history", "--limit", "1")[0]["revision"] == revision + 2


def test_a_failing_test_and_an_entry_at_fault_are_told_with_their_lines(feiyu: Feiyu, tmp_path: Path) -> None:
    feiyu(
        "tenant", "add", "p2", "--name", "P2", "--place", "s1/r1/acc0/10.82.0.0/24", "--for", "12mo", "--reason", "new"
    )
    path = written(tmp_path, SHOP.format("p2", "permit"))
    feiyu("policy", "plan", path, code=2)
    assert "policy.yaml:8: lines[0] there is no line p2-line" in feiyu.err
    addresses = ("--gateway", "192.0.2.1", "--source", "10.82.0.254", "--resolver", "192.0.2.53")
    feiyu("line", "add", "p2-line", "--device", "l-p2", *addresses, "--reason", "new")
    wrong = written(tmp_path, SHOP.format("p2", "deny, reason: not-whitelisted"))
    plan = feiyu("policy", "plan", wrong, code=1)
    assert "✗ " in plan
    assert "policy.yaml:11: the shop is reached: expected not-whitelisted, got permit by g-" in plan
    revision = feiyu.json("policy", "plan", wrong, code=1)["revision"]
    feiyu("policy", "apply", wrong, "--if-match", str(revision), "--reason", "x", code=1)
    assert "1 of 1 tests fail; nothing was changed" in feiyu.err
    feiyu("service", "show", "p2-shop", code=1)


@pytest.mark.parametrize("scope", [[], ["--tenant", "p3"]], ids=["the zone", "one firm"])
def test_what_is_exported_changes_nothing_when_it_is_planned(feiyu: Feiyu, tmp_path: Path, scope: list[str]) -> None:
    if feiyu.json("tenant", "list", "--state", "active") and not any(
        tenant["id"] == "p3" for tenant in feiyu.json("tenant", "list")
    ):
        feiyu("category", "add", "p3-news", "--reason", "new")
        feiyu("group", "add", "p3-desk", "--name", "The desk", "--reason", "new")
        place = "s1/r1/acc0/10.83.0.0/24"
        feiyu(
            "tenant",
            "add",
            "p3",
            "--name",
            "P3 艾",
            "--group",
            "p3-desk",
            "--place",
            place,
            "--for",
            "12mo",
            "--reason",
            "new",
        )
        addresses = ("--gateway", "192.0.2.1", "--source", "10.83.0.254", "--resolver", "192.0.2.53")
        feiyu("line", "add", "p3-line", "--device", "l-p3", *addresses, "--reason", "new")
        feiyu("service", "add", "p3-api", "--host", "api.p3.example", "--category", "p3-news", "--reason", "new")
        term = ("--line", "p3-line", "--for", "90d", "--weekdays", "mon-fri", "--hours", "08:00-20:00")
        feiyu("grant", "add", "--tenant", "p3", "--service", "p3-api", *term, "--reason", "new")
        feiyu("deny", "add", "*.p3bad.example", "--port", "443", "--reason", "new")
    out = tmp_path / "out.yaml"
    feiyu("policy", "export", *scope, "--out", str(out))
    assert feiyu("policy", "diff", str(out)) == ""
    feiyu("policy", "fmt", str(out))
    assert feiyu("policy", "diff", str(out)) == ""


SHEET = "名称,域名,到期日期\n新闻,news.p4.example,2030-01-01\n坏,not a name,2030-01-01\n,ａ.p4.example,2030-01-01\n"


def test_a_spreadsheet_is_imported_as_a_file_or_applied_at_once(feiyu: Feiyu, tmp_path: Path) -> None:
    feiyu(
        "tenant", "add", "p4", "--name", "P4", "--place", "s1/r1/acc0/10.84.0.0/24", "--for", "12mo", "--reason", "new"
    )
    addresses = ("--gateway", "192.0.2.1", "--source", "10.84.0.254", "--resolver", "192.0.2.53")
    feiyu("line", "add", "p4-line", "--device", "l-p4", *addresses, "--reason", "new")
    sheet = tmp_path / "list.csv"
    sheet.write_text(SHEET, "gb18030")
    out = tmp_path / "out.yaml"
    feiyu("policy", "import", str(sheet), "--tenant", "p4", "--line", "p4-line", "--out", str(out), code=1)
    assert "bad: list.csv row 3, column B 域名: " in feiyu.err.replace("B host", "B 域名")
    assert "changed: list.csv row 4, column B" in feiyu.err
    assert "3 rows, 2 good, 1 left out: 2 new services, 2 grants" in feiyu.err
    assert "2 to add" not in feiyu("policy", "plan", str(out))
    assert "4 to add" in feiyu("policy", "plan", str(out))
    reports = feiyu.json("policy", "import", str(sheet), "--tenant", "p4", "--line", "p4-line", code=1)
    assert [report["kind"] for report in reports] == ["bad", "changed"]
    told = feiyu(
        "policy", "import", str(sheet), "--tenant", "p4", "--line", "p4-line", "--apply", "--reason", "r", code=1
    )
    assert "4 to add, 0 to change, 0 to take away" in told
    feiyu("explain", "p4", "news.p4.example")
    feiyu("explain", "p4", "a.p4.example")
    again = feiyu(
        "policy", "import", str(sheet), "--tenant", "p4", "--line", "p4-line", "--apply", "--reason", "r", code=1
    )
    assert "0 to change, 0 to take away; 0 stand already" not in again
    assert len(feiyu.json("grant", "list", "--tenant", "p4")) == 2


def test_the_template_is_written_as_csv_or_workbook(offline: Feiyu, tmp_path: Path) -> None:
    assert offline("policy", "import", "--template").startswith("\ufeff服务编号 service,")
    offline("policy", "import", "--template", "--out", str(tmp_path / "form.xlsx"))
    assert (tmp_path / "form.xlsx").read_bytes().startswith(b"PK")
    form = ("policy", "import", str(tmp_path / "form.xlsx"), "--tenant", "acme")
    assert "tls://*.arxiv.org:443" in offline(*form)
    assert "not compared with the register" in offline.err
    offline("policy", "import", str(tmp_path / "none.csv"), "--tenant", "acme", code=2)
    assert "none.csv cannot be read: No such file" in offline.err


def test_everything_is_said_in_chinese_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = written(tmp_path, "feiyu: policy/1\n")
    assert run(["policy", "test", path, "--lang", "zh"]) == 1
    assert "测试" in capsys.readouterr().err


def test_replay_and_explain_show_a_policy_before_it_is_applied(feiyu: Feiyu, node: Path, tmp_path: Path) -> None:  # noqa: F811
    term = ("--from", "2026-01-01", "--until", "2036-01-01")
    feiyu("tenant", "add", "p5", "--name", "P5", "--place", "s1/r1/acc0/10.85.0.0/24", *term, "--reason", "new")
    addresses = ("--gateway", "192.0.2.1", "--source", "10.85.0.254", "--resolver", "192.0.2.53")
    feiyu("line", "add", "p5-line", "--device", "l-p5", *addresses, "--reason", "new")
    path = written(tmp_path, SHOP.format("p5", "permit").replace("2026-01-01", "2026-11-01"))
    record = Record(
        node="n", boot="b", worker="w0", seq=1, kind="deny", time=int(time.time() - 60) * 1_000_000, tenant="p5",
        interface="acc0", client_ip="10.85.0.9", method="CONNECT", host="shop.p5.example", port=443, decision="deny",
        reason="not-whitelisted",
    )  # fmt: skip
    log = node.parent / "state" / "log"
    log.mkdir(exist_ok=True)
    (log / segment_name(0)).write_bytes(encode(record) + b"\n")
    told = feiyu("replay", "--policy", path, "--since", "1h", code=1)
    assert "deny to allow  p5      p5-shop          1  not-whitelisted  shop.p5.example 1" in told
    assert "1 decisions: 1 would pass now, 0 would be refused, 0 stay as they were" in told
    assert "1 were never dialled" in told
    assert feiyu.json("replay", "--policy", path, "--since", "1h", code=1)["deny_to_allow"][0]["count"] == 1
    assert "deny to allow,p5,p5-shop,1," in feiyu("replay", "--policy", path, "-o", "csv", code=1)
    feiyu("replay", "--policy", path, "--since", "1h", "--log", str(tmp_path / "none"), code=2)
    assert "none cannot be read: No such file" in feiyu.err
    alone = written(tmp_path, SHOP.format("p6", "permit"))
    assert feiyu.json("replay", "--policy", alone, "--alone", "--since", "1h")["same"] == 1
    path = written(tmp_path, SHOP.format("p5", "permit").replace("2026-01-01", "2026-11-01"))
    feiyu("explain", "p5", "shop.p5.example", code=1)
    assert "Allowed by grant g-" in feiyu("explain", "p5", "shop.p5.example", "--policy", path)
    assert feiyu.json("explain", "p5", "x.example", "--policy", path, code=1)["verdict"]["reason"] == "not-whitelisted"
