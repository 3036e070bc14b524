"""The command against a real control process: what is typed is in the register, and is shown again."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.app import App
from ops.cli.main import run

CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 1
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:3128"}}]
access: [{{interface: lo, site: s1, room: r1, prefixes: ["127.0.0.0/8"], side: offshore}}]
"""


class Feiyu:
    """Calls of the command, in this process, at one socket."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._config, self._capture = config, capture
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """stdout of a call that must end with this exit status."""
        self._capture.readouterr()
        status = run([*arguments, "--config", str(self._config), "--no-input"])
        self.out, self.err = self._capture.readouterr()
        assert status == code, (arguments, self.out, self.err)
        return self.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        """stdout of a call, parsed."""
        return json.loads(self(*arguments, "-o", "json", code=code))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a node whose control process runs, alone."""
    directory = tmp_path_factory.mktemp("node")
    config = directory / "feiyu.yaml"
    config.write_text(CONFIG.format(directory))
    (directory / "run").mkdir()
    assert run(["init", "--config", str(config)]) == 0
    process = subprocess.Popen([sys.executable, "-m", "ops.control", "--config", str(config)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not (directory / "run" / "control.sock").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield config
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.fixture
def feiyu(node: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Feiyu:
    """The command in English; the tests of this module share one register and use names of their own."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("FEIYU_SERVER", raising=False)
    return Feiyu(node, capsys)


def zone(feiyu: Feiyu, name: str, prefix: str) -> None:
    """A tenant with one service on one line, all named after `name`."""
    feiyu("tenant", "add", name, "--name", name, "--place", f"s1/r1/acc0/{prefix}", "--for", "12mo", "--reason", "new")
    feiyu("service", "add", f"{name}-api", "--host", f"api.{name}.example", "--reason", "new")
    addresses = ("--gateway", "192.0.2.1", "--source", prefix.replace(".0/24", ".254"), "--resolver", "192.0.2.53")
    feiyu("line", "add", f"{name}-line", "--device", f"l-{name}", *addresses, "--reason", "new")


def test_a_tenant_is_added_shown_listed_edited_and_suspended(feiyu: Feiyu) -> None:
    said = feiyu(
        "tenant", "add", "acme", "--name", "Acme Ltd", "--name-zh", "顶点有限公司", "--max-tunnels", "50",
        "--place", "lingang-a/r1/acc0/10.1.0.0/24", "--place", "lingang-a/r1/acc0/fd00:1::/64",
        "--until", "2027-11-23", "--reason", "contract 17",
    )  # fmt: skip
    assert said.startswith("tenant acme added · revision ")
    assert said.rstrip().endswith(" · marked bootstrap")
    assert "not enforced yet: " in said  # this node has no supervisor

    item = feiyu.json("tenant", "show", "acme")
    assert item["valid_until"] == 1_826_985_600  # the first second after the 23rd, zone time
    assert [place["prefix"] for place in item["places"]] == ["10.1.0.0/24", "fd00:1::/64"]
    assert item["name_zh"] == "顶点有限公司"
    assert item["provenance"]["reason"] == "contract 17"
    assert "2027-11-23 24:00" in feiyu("tenant", "show", "acme")

    assert "acme" in feiyu("tenant", "list")
    assert feiyu("tenant", "list", "-o", "csv").splitlines()[0] == "id,name,state,until,places,groups"
    assert feiyu.json("tenant", "list", "--state", "suspended") == []

    feiyu("tenant", "edit", "acme", "--name", "Acme Limited", "--clear", "max-tunnels", "--reason", "renamed")
    item = feiyu.json("tenant", "show", "acme")
    assert (item["name"], item["max_tunnels"], len(item["places"])) == ("Acme Limited", 0, 2)

    assert "suspended · revision" in feiyu("tenant", "suspend", "acme", "--reason", "case 7")
    assert "acme" in feiyu("tenant", "list", "--state", "suspended")
    feiyu("tenant", "suspend", "acme", "--reason", "case 7 again", code=1)
    feiyu("tenant", "resume", "acme", "--reason", "case 7 closed")
    assert feiyu.json("tenant", "show", "acme")["state"] == "ACTIVE"


def test_services_in_both_ways_of_typing_are_the_same(feiyu: Feiyu) -> None:
    feiyu("category", "add", "dev", "--name", "Development", "--reason", "new")
    feiyu("service", "add", "git-a", "--host", "git.example", "--host", "*.git.example", "--port", "443",
          "--protocol", "tls", "--category", "dev", "--reason", "new")  # fmt: skip
    feiyu("service", "add", "git-b", "--endpoint", "tls://git.example:443", "--endpoint", "tls://*.git.example:443",
          "--category", "dev", "--reason", "new")  # fmt: skip
    first, second = feiyu.json("service", "show", "git-a"), feiyu.json("service", "show", "git-b")
    assert first["endpoints"] == second["endpoints"]
    assert "tls://*.git.example:443" in feiyu("service", "show", "git-a")
    assert feiyu.json("category", "show", "dev")["services"] == ["git-a", "git-b"]
    feiyu("service", "retire", "git-b", "--reason", "twice")
    assert [item["id"] for item in feiyu.json("service", "list", "--category", "dev")] == ["git-a"]
    assert len(feiyu.json("service", "list", "--category", "dev", "--all")) == 2


def test_a_wildcard_over_a_public_suffix_is_refused_with_its_field(feiyu: Feiyu) -> None:
    feiyu("service", "add", "all-of-it", "--host", "*.co.uk", "--reason", "greed", code=2)
    assert "endpoints" in feiyu.err
    assert "what to do" in feiyu.err
    assert feiyu.out == ""


def test_groups_count_their_tenants(feiyu: Feiyu) -> None:
    feiyu("group", "add", "traders", "--name", "Traders", "--reason", "new")
    feiyu("tenant", "add", "grp", "--name", "G", "--group", "traders", "--place", "s1/r1/acc0/10.9.0.0/24",
          "--for", "1y", "--reason", "new")  # fmt: skip
    assert feiyu.json("group", "show", "traders")["tenants"] == ["grp"]
    listed = feiyu("group", "list", "-o", "csv").splitlines()
    assert "traders,Traders,1" in listed


def test_a_grant_from_add_to_revoke(feiyu: Feiyu) -> None:
    zone(feiyu, "gamma", "10.3.0.0/24")
    answer = feiyu.json(
        "grant", "add", "--tenant", "gamma", "--service", "gamma-api", "--line", "gamma-line", "--for", "90d",
        "--to", "us", "--purpose", "internal_office", "--grade", "general", "--weekdays", "mon-fri",
        "--hours", "08:00-20:00",
        "--reason", "request 31",
    )  # fmt: skip
    grant = answer["item"]["id"]
    assert answer["item"]["provenance"]["origin"] == "bootstrap"
    item = feiyu.json("grant", "show", grant)
    assert item["window"]["weekdays"] == [0, 1, 2, 3, 4]
    assert (item["window"]["start_minute"], item["window"]["end_minute"]) == (480, 1200)
    assert item["window"]["valid_until"] - item["window"]["valid_from"] == 90 * 86_400
    assert item["destination_country"] == "US"
    shown = feiyu("grant", "show", grant)
    assert "mon,tue,wed,thu,fri 08:00-20:00" in shown
    assert "CN → US" in shown
    assert [i["id"] for i in feiyu.json("grant", "list", "--tenant", "gamma")] == [grant]
    assert feiyu.json("grant", "list", "--tenant", "gamma", "--state", "revoked") == []
    feiyu("grant", "suspend", grant, "--reason", "under review")
    feiyu("grant", "resume", grant, "--reason", "fine")
    assert f"grant {grant} revoked · revision " in feiyu("grant", "revoke", grant, "--reason", "over")
    feiyu("grant", "resume", grant, "--reason", "changed my mind", code=1)


def test_an_unknown_id_comes_with_the_one_that_was_meant(feiyu: Feiyu) -> None:
    zone(feiyu, "delta", "10.4.0.0/24")
    feiyu("tenant", "show", "detla", code=1)
    assert "Did you mean delta?" in feiyu.err
    feiyu("line", "drain", "delta-lime", "--reason", "x", code=1)
    assert "Did you mean delta-line?" in feiyu.err
    feiyu("explain", "detla", "a.example", code=1)
    assert "Did you mean delta?" in feiyu.err
    feiyu("grant", "add", "--tenant", "detla", "--service", "delta-api", "--line", "delta-line", "--for", "1d",
          "--reason", "x", code=2)  # fmt: skip
    assert "detla" in feiyu.err
    assert "Did you mean delta?" in feiyu.err


def test_the_same_id_twice_is_no(feiyu: Feiyu) -> None:
    zone(feiyu, "twice", "10.5.0.0/24")
    feiyu("service", "add", "twice-api", "--host", "other.example", "--reason", "x", code=1)
    assert "twice-api" in feiyu.err


def test_a_credential_is_shown_once_and_never_in_an_argument(feiyu: Feiyu) -> None:
    zone(feiyu, "kappa", "10.6.0.0/24")
    issued = feiyu("credential", "issue", "kappa", "--user", "build server", "--for", "90d", "--reason", "request 32")
    identifier = issued.split()[1]
    token = next(line.split()[1] for line in issued.splitlines() if line.startswith("Token"))
    assert "http://127.0.0.1:3128" in issued
    assert f'proxy-user = "{identifier}:{token}"' in feiyu.err
    assert "curl -K ~/.feiyu-proxy" in feiyu.err
    assert not [line for line in feiyu.err.splitlines() if "curl" in line and token in line]

    listed = feiyu("credential", "list", "kappa", "-o", "json")
    assert identifier in listed
    assert token not in listed
    assert "build server" not in listed  # only its pseudonym is kept
    machine = feiyu.json("credential", "issue", "kappa", "--user", "x", "--for", "1d", "--reason", "request 33")
    assert set(machine) >= {"credential", "token", "revision"}
    assert feiyu.err == ""
    csv = feiyu("credential", "issue", "kappa", "--user", "y", "--for", "1d", "--reason", "request 34", "-o", "csv")
    assert csv.splitlines()[0] == "id,tenant,user,token"

    feiyu("credential", "revoke", identifier, "--reason", "lost")
    rows = feiyu("credential", "list", "kappa", "-o", "csv").splitlines()
    assert [row.split(",")[3] for row in rows if row.startswith(identifier)] == ["revoked"]


def test_an_invite_is_a_command_without_a_secret_and_a_token(feiyu: Feiyu, tmp_path: Path) -> None:
    zone(feiyu, "chi", "10.26.0.0/24")
    asked = ("credential", "invite", "chi", "--user", "desk 4", "--reason", "request 35")
    feiyu(*asked, code=1)
    assert "there is no CA on this node" in feiyu.err
    feiyu("ca", "init", "--root", str(tmp_path / "safe"), "--zone", "zone.example", "--name", "gw1.zone.example")
    shown = feiyu(*asked)
    token = next(line.split()[1] for line in shown.splitlines() if line.startswith("Token"))
    command = next(line for line in shown.splitlines() if line.startswith("Command"))
    assert re.fullmatch(r"c-[0-9a-z]{10}\.[\w-]{43}", token)
    assert re.search(r"python3 feiyu-link\.pyz enrol --gateway GATEWAY:PORT --ca [0-9a-f]{64}$", command)
    assert token not in command
    assert "No listener takes this firm's certificates" in feiyu.err
    found = feiyu.json("credential", "list", "chi")
    assert [(one["invite"], one["id"]) for one in found] == [(True, token.split(".")[0])]
    assert 23 * 3600 < found[0]["valid_until"] - time.time() <= 24 * 3600
    assert "invite" in feiyu("credential", "list", "chi")
    csv = feiyu(*asked, "-o", "csv").splitlines()
    assert csv[0] == "id,tenant,user,token,root_sha256,command"
    feiyu("credential", "revoke", token.split(".")[0], "--reason", "sent to the wrong firm")


def test_a_deny_from_add_to_remove(feiyu: Feiyu) -> None:
    answer = feiyu.json(
        "deny", "add", "*.bad.example", "--port", "443,8443", "--note", "phishing", "--reason", "incident 12"
    )
    identifier = answer["item"]["id"]
    assert answer["item"]["ports"] == [443, 8443]
    assert "incident 12" in feiyu("deny", "list")
    assert f"deny {identifier} removed · revision" in feiyu("deny", "remove", identifier, "--reason", "closed")
    assert identifier not in feiyu("deny", "list")
    feiyu("deny", "remove", identifier, "--reason", "closed", code=1)


def test_a_line_from_add_to_retire(feiyu: Feiyu) -> None:
    feiyu("line", "add", "hk9", "--device", "l9", "--gateway", "192.0.2.1", "--gateway", "2001:db8::1",
          "--source", "192.0.2.2", "--source", "2001:db8::2", "--resolver", "2001:db8::53", "--carrier", "CT",
          "--circuit", "4711", "--until", "2028-01-31", "--reason", "new circuit")  # fmt: skip
    item = feiyu.json("line", "show", "hk9")
    assert (item["gateway4"], item["gateway6"]) == ("192.0.2.1", "2001:db8::1")
    assert (item["source4"], item["source6"]) == ("192.0.2.2", "2001:db8::2")
    feiyu(
        "line",
        "edit",
        "hk9",
        "--clear",
        "gateway6",
        "--clear",
        "source6",
        "--resolver",
        "192.0.2.53",
        "--reason",
        "v4 only",
    )
    assert feiyu.json("line", "show", "hk9")["gateway6"] == ""
    feiyu("line", "edit", "hk9", "--clear", "until", "--reason", "open end")
    assert feiyu.json("line", "show", "hk9")["valid_until"] == 0, "by the option's name"
    feiyu("line", "drain", "hk9", "--reason", "tonight")
    assert "drained" in feiyu("line", "list")
    feiyu("line", "undrain", "hk9", "--reason", "done")
    feiyu("line", "retire", "hk9", "--reason", "contract ended")
    assert "hk9" not in feiyu("line", "list")
    assert "hk9" in feiyu("line", "list", "--all")


def test_a_line_that_is_added_with_an_end_in_the_past_is_warned_of(feiyu: Feiyu) -> None:
    given = ("--device", "l8", "--gateway", "192.0.8.1", "--source", "192.0.8.2", "--resolver", "192.0.2.53")
    feiyu("line", "add", "past", *given, "--until", "2020-01-31", "--reason", "old contract")
    assert "warning: the contract has ended: the line carries nothing; feiyu line edit past --until" in feiyu.err
    feiyu("line", "retire", "past", "--reason", "done")


def test_a_line_s_contract_side_and_its_shares(feiyu: Feiyu, tmp_path: Path) -> None:
    zone(feiyu, "ledger", "10.77.0.0/24")
    document = tmp_path / "agreement.pdf"
    document.write_bytes(b"signed")
    feiyu(
        "line", "edit", "ledger-line", "--kind", "iepl", "--bandwidth", "100mbit", "--rate-up", "20mbit",
        "--rate-down", "40mbit", "--customer", "name=Acme Ltd", "--customer", "headcount=40", "--officer", "Li",
        "--attach", f"agreement={document}", "--resolver", "tls://192.0.2.53#dns.example", "--for", "30d",
        "--reason", "contract 7",
    )  # fmt: skip
    feiyu("line", "edit", "ledger-line", "--customer", "contact=desk 4", "--reason", "contact")
    feiyu("line", "share", "ledger-line", "ledger", "--up", "5mbit..20mbit", "--source", "192.0.2.3", "--reason", "c7")
    feiyu("line", "share", "ledger-line", "ledger", "--down", "10mbit", "--reason", "c7")
    item = feiyu.json("line", "show", "ledger-line")
    assert item["customer"] == {**item["customer"], "name": "Acme Ltd", "headcount": 40, "contact": "desk 4"}
    assert item["attachments"][0]["sha256"] == hashlib.sha256(b"signed").hexdigest()
    assert (item["bandwidth"], item["rate_up"], item["kind"]) == (100_000, 20_000, "iepl")
    share = item["shares"][0]
    assert (share["number"], share["up"], share["up_ceiling"], share["down"]) == (1, 5_000, 20_000, 10_000)
    shown = feiyu("line", "show", "ledger-line")
    assert "ledger (1) 192.0.2.3 up 5mbit..20mbit down 10mbit" in shown
    assert "the contract ends in " in feiyu.err

    feiyu("line", "share", "ledger-line", "nobody", "--reason", "x", code=2)
    assert "there is no tenant nobody" in feiyu.err
    feiyu("line", "share", "ledger-line", "ledger", "--up", "30mbit", "--reason", "x", code=2)
    assert "lower them" in feiyu.err
    feiyu("line", "edit", "ledger-line", "--customer", "shoe-size=4", "--reason", "x", code=2)
    assert "no field of the customer file" in feiyu.err
    feiyu("line", "unshare", "ledger-line", "ledger", "--reason", "ended")
    assert feiyu.json("line", "show", "ledger-line")["shares"] == []
    feiyu("line", "unshare", "ledger-line", "ledger", "--reason", "again", code=2)


@pytest.mark.parametrize("verb", ["share", "unshare"])
def test_of_two_edits_of_one_line_s_shares_that_meet_none_is_lost_and_the_later_is_told(
    feiyu: Feiyu, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    name = f"race-{verb}"
    zone(feiyu, name, "10.81.0.0/24" if verb == "share" else "10.82.0.0/24")
    feiyu("line", "edit", f"{name}-line", "--rate-up", "20mbit", "--rate-down", "20mbit", "--reason", "shaped")
    if verb == "unshare":
        feiyu("line", "share", f"{name}-line", name, "--up", "1mbit", "--reason", "contract")
    before = {one["tenant"] for one in feiyu.json("line", "show", f"{name}-line")["shares"]}
    read, met = App.get_one, []

    def meanwhile(app: App, collection: str, identifier: str) -> Any:
        seen = read(app, collection, identifier)
        if not met:
            met.append(seen)
            other = {"shares": [*seen["shares"], {"tenant": "acme", "number": 9, "up": 2_000}], "reason": "of another"}
            app.client.call("PATCH", f"/v1/lines/{identifier}", other)
        return seen

    monkeypatch.setattr(App, "get_one", meanwhile)
    feiyu("line", verb, f"{name}-line", name, "--reason", "mine", code=4)
    assert "was changed in revision " in feiyu.err
    assert "of another" in feiyu.err
    assert "look at it again" in feiyu.err
    shares = {one["tenant"] for one in feiyu.json("line", "show", f"{name}-line")["shares"]}
    assert shares == before | {"acme"}

    feiyu("line", verb, f"{name}-line", name, "--reason", "mine, again")
    shares = {one["tenant"] for one in feiyu.json("line", "show", f"{name}-line")["shares"]}
    assert shares == {"acme"} | ({name} if verb == "share" else set())


VXLAN = ("--vxlan", "7", "--underlay", "eth1", "--outer-source", "198.51.100.2", "--vxlan-peer", "198.51.100.9")
SRV6 = ("--segment", "5f00::1", "--segment", "5f00::2", "--outer-source", "2001:db8::2", "--outer-gateway", "fe80::1")


def test_a_line_becomes_a_vxlan_segment_then_a_segment_list_then_plain_again(feiyu: Feiyu) -> None:
    address = ("--gateway", "192.0.2.65", "--source", "192.0.2.66")
    feiyu("line", "add", "outer", "--device", "vx7", *address, *VXLAN, "--on-link", "--reason", "new")
    assert feiyu.json("line", "show", "outer")["encapsulation"] == {
        "type": "vxlan", "vni": 7, "underlay": "eth1", "local": "198.51.100.2", "peer": "198.51.100.9",
        "gateway": "", "port": 4789, "mtu": 0,
    }  # fmt: skip
    feiyu("line", "edit", "outer", "--outer-gateway", "198.51.100.1", "--inner-mtu", "1400", "--reason", "routed")
    assert feiyu.json("line", "show", "outer")["encapsulation"]["mtu"] == 1400
    feiyu("line", "edit", "outer", "--inner-mtu", "0", "--reason", "0 is a value of its own")
    assert feiyu.json("line", "show", "outer")["encapsulation"]["mtu"] == 0
    feiyu("line", "edit", "outer", "--inner-mtu", "1400", "--reason", "routed")
    shown = feiyu("line", "show", "outer")
    assert "198.51.100.9:4789" in shown
    assert "198.51.100.1" in shown
    assert "出口设备" in feiyu("line", "show", "outer", "--lang", "zh")
    feiyu("line", "edit", "outer", *SRV6, "--reason", "moved")
    assert "the line's device is now vx7, which is no longer made by feiyu: it must exist" in feiyu.err
    assert feiyu.json("line", "show", "outer")["encapsulation"] == {
        "type": "srv6", "segments": ["5f00::1", "5f00::2"], "gateway": "fe80::1", "local": "2001:db8::2", "mtu": 0,
    }  # fmt: skip
    assert "5f00::2" in feiyu("line", "show", "outer")
    feiyu("line", "edit", "outer", "--plain", "--reason", "moved back")
    assert "note" not in feiyu.err, "its device was not made before either"
    assert feiyu.json("line", "show", "outer")["encapsulation"] is None
    assert "Outer" not in feiyu("line", "show", "outer")
    feiyu("line", "edit", "outer", *VXLAN, "--on-link", "--reason", "a segment again")
    feiyu("line", "edit", "outer", "--plain", "--device", "l7", "--reason", "and plain again")
    assert "the line's device is now l7" in feiyu.err


def test_a_vxlan_segment_is_of_one_line(feiyu: Feiyu) -> None:
    feiyu("line", "add", "seg-a", "--device", "vx8a", "--gateway", "192.0.2.81", "--source", "192.0.2.82", *VXLAN[2:],
          "--vxlan", "8", "--on-link", "--reason", "new")  # fmt: skip
    again = (
        "line",
        "add",
        "seg-b",
        "--device",
        "vx8b",
        "--gateway",
        "192.0.2.89",
        "--source",
        "192.0.2.90",
        *VXLAN[2:],
    )
    feiyu(*again, "--vxlan", "8", "--on-link", "--reason", "new", code=2)
    assert "line seg-a has VXLAN 8 on port 4789" in feiyu.err
    feiyu(*again, "--vxlan", "9", "--on-link", "--reason", "new")


OUTER_WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "both kinds": ((*VXLAN, "--segment", "5f00::1"), "not both"),
    "a VXLAN without an underlay": ((*VXLAN[:2], *VXLAN[4:]), "--underlay"),
    "a segment list without a next hop": (SRV6[:-2], "--outer-gateway"),
    "a next hop and none": ((*VXLAN, "--on-link", "--outer-gateway", "198.51.100.1"), "contradict"),
    "plain and not": ((*VXLAN, "--plain"), "stands alone"),
    "an outer source around nothing": (("--outer-source", "198.51.100.2"), "neither VXLAN nor SRv6"),
    "network 0": (("--vxlan", "0"), "--vxlan"),
    "a peer in disguise": ((*VXLAN, "--vxlan-peer", "::ffff:198.51.100.9"), "give 198.51.100.9"),
}


@pytest.mark.parametrize("sentence", OUTER_WRONG)
def test_around_a_line_cannot_be(feiyu: Feiyu, sentence: str) -> None:
    options, words = OUTER_WRONG[sentence]
    address = ("--gateway", "192.0.2.97", "--source", "192.0.2.98")
    feiyu("line", "add", "odd", "--device", "odd0", *address, *options, "--reason", "new", code=2)
    assert words in feiyu.err


def test_limits_of_a_tenant_and_weights_of_lines(feiyu: Feiyu) -> None:
    zone(feiyu, "limited", "10.78.0.0/24")
    zone(feiyu, "second", "10.79.0.0/24")
    feiyu("tenant", "edit", "limited", "--tunnels-per-second", "5", "--bytes-per-day", "10GB", "--reason", "plan S")
    item = feiyu.json("tenant", "show", "limited")
    assert (item["tunnels_per_second"], item["bytes_per_day"], item["bytes_per_month"]) == (5, 10**10, 0)
    assert "10GB" in feiyu("tenant", "show", "limited")
    assert ["Used this month", "0B"] in [
        row.rsplit(maxsplit=1) for row in feiyu("tenant", "show", "limited").splitlines()
    ]
    assert item["usage"]["month_end"] >= item["usage"]["day_end"]
    grant = ("grant", "add", "--tenant", "limited", "--service", "limited-api", "--for", "90d", "--reason", "r")
    lines = ("--line", "limited-line", "--line", "second-line")
    feiyu(*grant, *lines, "--weight", "70", "--weight", "30", "--id", "g-weights0001")
    assert "limited-line:70" in feiyu("grant", "show", "g-weights0001")
    feiyu(*grant, *lines, "--weight", "70", code=2)
    assert "one number from 1 to 1000 for each line" in feiyu.err


def test_terms_of_a_grant_for_tls_and_what_they_leave_open(feiyu: Feiyu) -> None:
    zone(feiyu, "tau", "10.76.0.0/24")
    asked = ("grant", "add", "--tenant", "tau", "--line", "tau-line", "--for", "90d", "--reason", "r")
    feiyu(*asked, "--service", "tau-api", "--id", "g-usual00001")
    usual = feiyu.json("explain", "tau", "api.tau.example")
    assert ["ECH cannot be excluded" in words["en"] for words in usual["left_open"]] == [True]
    assert "another name hidden by ECH cannot be excluded" in feiyu("explain", "tau", "api.tau.example")
    assert "不能排除" in feiyu("explain", "tau", "api.tau.example", "--lang", "zh")
    feiyu("grant", "revoke", "g-usual00001", "--reason", "r")
    terms = ("--no-sni", "allow", "--ip-sni", "refuse", "--ech", "refuse", "--application", "web")
    feiyu(*asked, "--service", "tau-api", *terms, "--id", "g-strict0001")
    item = feiyu.json("grant", "show", "g-strict0001")
    assert [item[name] for name in ("no_sni", "ip_sni", "ech", "application")] == ["allow", "refuse", "refuse", "web"]
    assert "no-sni allow, ip-sni refuse, ech refuse, application web" in feiyu("grant", "show", "g-strict0001")
    strict = feiyu.json("explain", "tau", "api.tau.example")
    assert ["without a server name" in words["en"] for words in strict["left_open"]] == [True]
    feiyu("service", "add", "tau-raw", "--endpoint", "tcp://raw.tau.example:7000", "--reason", "r")
    feiyu(*asked, "--service", "tau-raw", "--ech", "refuse", code=2)
    assert "has no tls endpoint" in feiyu.err
    feiyu(*asked, "--service", "tau-api", "--ech", "perhaps", code=2)


def test_explain_says_what_carries_a_permit_and_what_a_refusal_would_need(feiyu: Feiyu) -> None:
    zone(feiyu, "omega", "10.7.0.0/24")
    feiyu("explain", "omega", "api.omega.example", code=1)
    assert feiyu.out.startswith("deny not-whitelisted ")
    assert "To change" in feiyu.out
    assert "omega-api" in feiyu.out
    asked = ("--tenant", "omega", "--service", "omega-api", "--line", "omega-line", "--for", "1d")
    grant = feiyu.json("grant", "add", *asked, "--reason", "x")["item"]["id"]
    shown = feiyu("explain", "omega", "api.omega.example:443")
    assert "but now" not in shown
    feiyu("line", "drain", "omega-line", "--reason", "maintenance")
    drained = feiyu("explain", "omega", "api.omega.example:443").splitlines()
    assert drained[0].startswith("permit ")
    assert drained[1].startswith("but now: deny line-unavailable ")
    assert "(omega-line: drained)" in " ".join(drained[1:4])
    chinese = feiyu("explain", "omega", "api.omega.example", "--lang", "zh").splitlines()
    assert chinese[1].startswith("但目前： deny line-unavailable 该授权指定的专线均不可用")
    assert feiyu.json("explain", "omega", "api.omega.example")["but_now"]["detail"] == "omega-line: drained"
    feiyu("line", "undrain", "omega-line", "--reason", "done")
    assert shown.startswith("permit ")
    for part in (grant, "omega-api", "api.omega.example", "omega-line", "10.7.0."):
        assert part in shown
    feiyu("explain", "omega", "api.omega.example:22", code=1)
    assert feiyu.out.startswith("deny port-not-allowed ")
    assert feiyu.json("explain", "omega", "api.omega.example:22", code=1)["verdict"]["reason"] == "port-not-allowed"
    feiyu("explain", "omega", "exa mple", code=2)
    feiyu("explain", "omega", "api.omega.example", "--source", "10.99.0.1", code=1)


def test_explain_in_chinese(feiyu: Feiyu) -> None:
    zone(feiyu, "sigma", "10.8.0.0/24")
    shown = feiyu("explain", "sigma", "api.sigma.example", "--lang", "zh", code=1)
    assert "该服务不在贵公司的白名单内。" in shown
    assert "需要改变" in shown


def test_status_of_a_node_without_workers(feiyu: Feiyu) -> None:
    shown = feiyu("status")
    assert "gw1.zone.example" in shown
    facts = feiyu.json("status")
    assert facts["register"]["ok"] is True
    assert facts["hub"]["ok"] is False


def test_doctor_says_which_process_is_missing(feiyu: Feiyu) -> None:
    found = {entry["name"]: entry for entry in feiyu.json("doctor", code=1)}
    assert found["control"]["level"] == "ok"
    assert found["hub"]["level"] == "fail"
    assert found["recorder"]["level"] == "fail"
    assert all(entry["remedy"] for entry in found.values() if entry["level"] == "fail")


@pytest.mark.parametrize(
    "command", [["flow", "list"], ["log", "search", "--since", "1h"], ["log", "tail"]], ids=" ".join
)
def test_what_the_recorder_knows_is_unreachable_without_it(feiyu: Feiyu, command: list[str]) -> None:
    feiyu(*command, code=5)
    assert "recorder" in feiyu.err


def test_every_format_carries_the_same_items(feiyu: Feiyu) -> None:
    import yaml

    zone(feiyu, "formats", "10.10.0.0/24")
    items = feiyu.json("service", "list")
    assert yaml.safe_load(feiyu("service", "list", "-o", "yaml")) == items
    assert len(feiyu("service", "list", "-o", "csv").splitlines()) == len(items) + 1
    assert len(feiyu("service", "list").splitlines()) == len(items) + 1


def test_a_name_with_control_characters_never_reaches_the_terminal_raw(feiyu: Feiyu) -> None:
    evil = "x\x1b]0;owned\x07\u202ey"
    base = ("--place", "s1/r1/acc0/10.11.0.0/24", "--for", "1d", "--reason", "test")
    status = run(["tenant", "add", "evil", "--name", evil, *base, "--config", str(feiyu._config)])
    shown = [feiyu("tenant", "list", "-o", form) for form in ("table", "json", "yaml", "csv")]
    assert status in (0, 2)  # the register may refuse such names; if it keeps one, it is shown escaped
    for text in shown:
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
