"""feiyu doctor egress: on a whole node nothing gets out and each way is told by what stopped it; with layers off it
sees the packets that the wires' far ends see."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.line.model import NodeConfig
from ops.doctor import egress
from ops.doctor.aim import named
from ops.doctor.egress import Result, Verdict
from tenants.change import Change
from tests.netns.bench import FLUSH_ROUTES, FLUSH_RULES, NO_TABLE, configured, line_of, node_of
from tests.netns.kit import ABROAD, Zone
from whitelist.model import Line
from whitelist.store import open_register

pytestmark = pytest.mark.root
WORKER = 62_001
DEVICES = ("acc0", "iplc1", "iplc2", "wan0")


@contextmanager
def whole(zone: Zone) -> Iterator[tuple[NodeConfig, list[Line]]]:
    lines = [line_of(zone, 1, "iplc1"), line_of(zone, 2, "iplc2")]
    node = node_of(zone, worker_uids=(WORKER,))
    with zone.gateway.inside(), configured(node, lines):
        yield node, lines


def examine(
    zone: Zone, removed: list[str], only: tuple[str, ...] = (), target: str = ""
) -> tuple[list[Result], dict[str, int]]:
    """Results, and what came out by each device beside the kernel's ND and MLD."""
    with whole(zone) as (node, lines):
        zone.run(*removed)
        for device in DEVICES:
            zone.count(device)
        results = egress.examine(node, lines, only, named(target, node) if target else None)
        return results, {device: zone.count(device).leaked for device in DEVICES}


def found(results: list[Result], attempt: str, kind: str, line: str = "") -> tuple[Verdict, str]:
    (one,) = [r for r in results if (r.attempt, r.kind, r.line) == (attempt, kind, line)]
    return one.verdict, one.by


def test_a_whole_node_lets_nothing_out_and_each_way_is_told_by_what_stopped_it(zone: Zone) -> None:
    results, out = examine(zone, [])
    assert out == dict.fromkeys(DEVICES, 0)
    assert [r for r in results if r.verdict in egress.BAD] == []
    assert [r.attempt for r in results if r.verdict is Verdict.NOT_TRIED] == ["packet socket (AF_PACKET)"]
    assert {r.attempt for r in results if r.verdict is Verdict.HELD} == {"mark without device"}
    assert [r for r in results if r.by.startswith("not seen")] == []
    stopped = Verdict.STOPPED
    for forged, line, counter in (
        ("forged neighbour solicitation", "", "dropped"),
        ("forged neighbour solicitation of a worker's user", "", "unmarked"),
        ("forged neighbour solicitation from its source", "line-1", "unmarked"),
    ):
        assert found(results, forged, "nd6", line) == (stopped, f"nft: counter {counter}")
    for version in (4, 6):
        assert found(results, "plain socket of root", f"tcp{version}") == (stopped, "nft: counter dropped")
        assert found(results, "plain socket of a worker's user", f"udp{version}") == (stopped, "nft: counter unmarked")
        for line, other in (("line-1", 2), ("line-2", 1)):
            for kind in (f"tcp{version}", f"udp{version}"):
                crossed = found(results, "another line's mark", kind, line)
                assert crossed == (stopped, f"nft: counter line_{other}_dropped")
                assert found(results, "mark of no line", kind, line) == (stopped, "nft: counter marked")
            forged = found(results, "forged packet with its source", f"raw{version}", line)
            assert forged == (stopped, "nft: counter unmarked")
    neighbour = found(results, "past the gateway, to a neighbour", "udp4", "line-1")
    assert neighbour == (stopped, "nft: counter line_1_dropped")
    assert found(results, "device without mark", "tcp6", "line-1")[1].startswith("routing: unreachable")
    assert found(results, "forwarded packet", "") == (stopped, "sysctl: forwarding is off; nft: chain forward")


def test_the_table_alone_stops_every_way(zone: Zone) -> None:
    results, out = examine(zone, [*FLUSH_RULES, *FLUSH_ROUTES])
    assert [r for r in results if r.verdict in egress.BAD] == []
    assert out == dict.fromkeys(DEVICES, 0)
    assert found(results, "mark without device", "tcp4", "line-1") == (Verdict.STOPPED, "nft: counter line_1_dropped")


def test_without_the_table_what_only_it_stops_is_seen_leaking(zone: Zone) -> None:
    results, out = examine(zone, NO_TABLE)
    for version in (4, 6):
        leak = (Verdict.LEAKED, "a packet left by wan0")
        assert found(results, "plain socket of root", f"tcp{version}") == leak
        assert found(results, "plain socket of a worker's user", f"udp{version}") == leak
        assert found(results, "forged packet with its source", f"raw{version}", "line-2") == leak
        assert found(results, "source alone", f"tcp{version}", "line-1")[0] is Verdict.HELD
    asked = found(results, "past the gateway, to a neighbour", "tcp4", "line-1")
    assert asked == (Verdict.LEAKED, "a packet left by iplc1")
    leaked = [r for r in results if r.by == "a packet left by wan0"]
    assert len(leaked) == out["wan0"]


def test_with_all_layers_off_every_packet_at_the_far_end_is_told(zone: Zone) -> None:
    results, out = examine(zone, [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES])
    for device in ("wan0", "iplc1", "iplc2"):
        assert sum(r.by == f"a packet left by {device}" for r in results) == out[device] > 0
    assert found(results, "mark without device", "udp6", "line-1")[0] is Verdict.LEAKED


def test_forwarding_that_neither_layer_stops_is_open(zone: Zone) -> None:
    forward = "sysctl -qw net.ipv4.ip_forward=1"
    results, _ = examine(zone, [forward], only=("line-1",))
    assert found(results, "forwarded packet", "") == (Verdict.STOPPED, "nft: chain forward")
    with Zone() as other:
        results, _ = examine(other, [forward, *NO_TABLE])
        assert found(results, "forwarded packet", "")[0] is Verdict.OPEN


def test_a_redirect_behind_the_table_is_named_and_not_tried(zone: Zone) -> None:
    away = [
        "nft add table netdev other",
        "nft add chain netdev other away {type\tfilter\thook\tegress\tdevice\tiplc1\tpriority\t0;}",
    ]
    name = "redirect behind the table (nft netdev, tc)"
    results, _ = examine(zone, away)
    assert found(results, name, "") == (
        Verdict.NOT_TRIED,
        "see what it does: nft netdev table other chain away",
    )
    results, _ = examine(zone, ["nft delete table netdev other"])
    assert found(results, name, "") == (Verdict.STOPPED, "there is none")


def test_a_table_that_trusts_neighbour_discovery_of_any_program_is_found_out(zone: Zone) -> None:
    trusting = "nft insert rule inet feiyu output icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 accept"
    results, out = examine(zone, [trusting])
    leaked = {(r.attempt, r.line) for r in results if r.verdict is Verdict.LEAKED}
    assert {
        ("forged neighbour solicitation", ""),
        ("forged neighbour solicitation of a worker's user", ""),
    } <= leaked
    assert {attempt.partition(" from")[0].partition(" of")[0].partition(" by")[0] for attempt, _ in leaked} == {
        "forged neighbour solicitation"
    }
    assert out["wan0"] >= 2


def test_settings_that_let_neighbours_lead_packets_away_are_open(zone: Zone) -> None:
    results, _ = examine(zone, ["sysctl -qw net.ipv6.conf.iplc1.accept_ra=2 net.ipv4.conf.iplc2.proxy_arp=1"])
    advertised = found(results, "route told by an advertisement or redirect", "")
    assert advertised == (Verdict.OPEN, "sysctl: net.ipv6.conf.iplc1.accept_ra")
    answered = found(results, "answer for an address of another device", "")
    assert answered == (Verdict.OPEN, "sysctl: net.ipv4.conf.iplc2.proxy_arp")


def test_only_the_lines_that_were_named_are_tried(zone: Zone) -> None:
    results, _ = examine(zone, [], only=("line-2",))
    assert {r.line for r in results} == {"", "line-2"}


@pytest.mark.parametrize("version", [4, 6])
def test_a_target_that_was_named_is_told_as_the_far_ends_see_it(zone: Zone, version: int) -> None:
    address = ABROAD[version]
    target = f"[{address}]:4433" if version == 6 else f"{address}:4433"  # answered with RST, so nothing follows
    whole_results, out = examine(zone, [], target=target)
    assert out == dict.fromkeys(DEVICES, 0)
    assert [r for r in whole_results if r.verdict in egress.BAD] == []
    assert {r.kind[-1] for r in whole_results if r.kind} == {str(version)}
    with Zone() as other:  # where no neighbour was asked for yet
        open_results, out = examine(other, [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES], target=target)
    assert found(open_results, "plain socket of root", f"tcp{version}") == (Verdict.LEAKED, "a packet left by wan0")
    leaks = [r.by for r in open_results if r.verdict is Verdict.LEAKED]
    assert {device for device in DEVICES if any(device in by for by in leaks)} == {d for d in DEVICES if out[d]}
    assert leaks.count("a packet left by wan0") == out["wan0"]
    tried = [(r.line, r.attempt, r.kind) for r in open_results]
    assert tried == [(r.line, r.attempt, r.kind) for r in whole_results]


def test_a_neighbour_with_the_target_s_address_is_no_gateway(zone: Zone) -> None:
    """It answers on the line's link (another customer's machine with proxy ARP, say), and may be known from before."""
    target = f"{ABROAD[4]}:4433"
    mac = zone.wires["iplc1"].mac(1)
    for known in ([], [f"ip neigh replace {ABROAD[4]} lladdr {mac} dev iplc1 nud reachable"]):
        with Zone() as fresh:
            results, _ = examine(fresh, [*NO_TABLE, *FLUSH_RULES, *FLUSH_ROUTES, *known], ("line-1",), target)
        past = found(results, "past the gateway, to a neighbour", "tcp4", "line-1")
        assert past == (Verdict.LEAKED, "a packet left by iplc1")
        assert found(results, "device without mark", "udp4", "line-1") == (Verdict.LEAKED, "a packet left by iplc1")
    results, _ = examine(zone, NO_TABLE, ("line-1",), f"[{ABROAD[6]}]:4433")  # nobody asks for it on the line's link
    assert found(results, "source alone", "tcp6", "line-1")[0] is Verdict.HELD


def test_a_target_on_a_link_that_does_not_answer_is_asked_for_once_and_every_way_to_it_is_told(zone: Zone) -> None:
    results, _ = examine(zone, [*NO_TABLE, *FLUSH_RULES], only=("line-1",), target="192.0.2.5")
    leak = (Verdict.LEAKED, "a packet left by wan0")
    for attempt in ("plain socket of root", "plain socket of a worker's user"):
        for kind in ("tcp4", "udp4"):
            assert found(results, attempt, kind) == leak
    with Zone() as other:
        whole_results, out = examine(other, [], only=("line-1",), target="192.0.2.5")
    assert out == dict.fromkeys(DEVICES, 0)
    assert [r for r in whole_results if r.verdict in egress.BAD] == []


def test_what_the_time_does_not_suffice_for_is_told_as_not_tried(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "LIMIT", -1.0)
    results, out = examine(zone, NO_TABLE)
    assert out == dict.fromkeys(DEVICES, 0)
    verdict, by = found(results, "plain socket of root", "tcp4")
    assert verdict is Verdict.NOT_TRIED
    assert "feiyu doctor egress --line ID" in by


CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
listeners: [{{name: plain, kind: plain, address: "10.0.0.2:3128"}}]
access: [{{interface: acc0, site: s1, room: r1, prefixes: ["10.0.0.0/29"], side: offshore}}]
"""


def feiyu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_takes_lines_of_the_register_and_its_status_says_whether_anything_got_out(
    zone: Zone, tmp_path: Path
) -> None:
    path = tmp_path / "feiyu.yaml"
    path.write_text(CONFIG.format(tmp_path))
    with whole(zone) as (_, (first, _second)):
        assert feiyu("init", "--config", str(path)).returncode == 0
        register = open_register(tmp_path / "state" / "register.db", create=False)
        fields = {key: getattr(first, key) for key in ("device", "gateway4", "gateway6", "source4", "source6")}
        change = Change(collection="lines", verb="add", id="hk1", fields=fields | {"resolvers": ["203.0.113.53"]})
        register.apply_changes([change], "root", "set up", 1_800_000_000)
        register.store.close()
        healthy = feiyu("doctor", "egress", "--config", str(path), "-o", "json")
        assert healthy.returncode == 0, healthy.stderr
        rows = json.loads(healthy.stdout)
        assert {row["line"] for row in rows} == {"", "hk1"}
        assert {row["verdict"] for row in rows} == {"stopped", "held", "not tried"}
        assert "no packet left beside its line" in healthy.stderr
        zone.run(*NO_TABLE)
        leaking = feiyu("doctor", "egress", "--config", str(path), "--lang", "zh", "--line", "hk1")
        assert leaking.returncode == 1
        assert "泄漏" in leaking.stdout
        assert "绕过网关，直达邻居" in leaking.stdout
        aimed = feiyu("doctor", "egress", "--config", str(path), "--target", f"{ABROAD[4]}:4433", "-o", "json")
        assert aimed.returncode == 1
        assert "has no IPv6 address" in aimed.stderr
        assert {row["kind"][-1:] for row in json.loads(aimed.stdout)} == {"4", ""}
        own = feiyu("doctor", "egress", "--config", str(path), "--target", "10.0.0.1")
        assert (own.returncode, "which the node may reach" in own.stderr) == (2, True)
        unknown = feiyu("doctor", "egress", "--config", str(path), "--line", "hk9")
        assert unknown.returncode == 2
        assert "hk1" in unknown.stderr


ELSEWHERE = """
set -e
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add d0 type veth peer name far
ip link set far up
ip addr add 192.0.2.2/24 dev d0
ip link set d0 up
ip route add default via 192.0.2.1 dev d0
status=0
"$@" || status=$?
ip -s -j link show d0
ip -s -j link show lo
exit $status
"""


@pytest.mark.parametrize("target", [(), ("--target", "probe.example")])
def test_where_none_of_the_node_s_devices_is_nothing_is_sent(tmp_path: Path, target: tuple[str, ...]) -> None:
    path = tmp_path / "feiyu.yaml"
    path.write_text(CONFIG.format(tmp_path))
    assert feiyu("init", "--config", str(path)).returncode == 0
    command = [sys.executable, "-m", "ops.cli.main", "doctor", "egress", "--config", str(path), *target]
    words = ["unshare", "--net", "sh", "-c", ELSEWHERE, "sh", *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "none of the node's devices is here: acc0" in done.stderr
    links = [json.loads(row)[0] for row in done.stdout.splitlines()]
    assert {link["ifname"]: link["stats64"]["tx"]["packets"] for link in links} == {"d0": 0, "lo": 0}
