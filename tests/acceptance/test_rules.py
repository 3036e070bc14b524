"""Detection rules on a whole node, with real clients: a cut, a block that outlives the recorder, and its lifting."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import configs
from ops.demo.world import PAPERS, SEARCH, VIDEO
from telemetry.interception.ruleset import load
from tests.acceptance.kit import RESTART, SLOW, Node

pytestmark = pytest.mark.root

PACK = Path(configs.__file__).parent / "sigma"
ID = "6c1c9c1a-6f0b-4a52-8a86-0000000000"
RULE = """title: {title}
id: {id}
level: high
logsource: {{category: proxy}}
detection: {{selection: {{cs-host: {host}, tenant: acme}}, condition: selection}}
response: {{type: feiyu, {response}}}
"""


@contextlib.contextmanager
def rule(node: Node, number: int, host: str, response: str) -> Iterator[str]:
    """A rule that runs meanwhile; its id."""
    id_ = f"{ID}{number:02}"
    file = Path(node.stage.directory) / "rules" / f"{number}.yml"
    before = running(node)
    file.write_text(RULE.format(title=f"rule {number}", id=id_, host=host, response=response))
    try:
        node.stage.wait(lambda: running(node) > before, "the rule does not run", 20)
        yield id_
    finally:
        before = running(node)
        file.unlink()
        node.stage.wait(lambda: running(node) > before, "the rule does not end", 20)


def running(node: Node) -> int:
    """When rules were last read, as a time of the log."""
    found = node.stage.records(kind="action", limit=200)
    return max((r["time"] for r in found if "detection rules run" in r.get("detail", "")), default=0)


def test_the_last_good_rules_are_kept_by_the_recorders_own_user(node: Node) -> None:
    settings = node.stage.settings()
    kept = Path(settings.state_dir) / "rules" / "last"
    assert {file.name for file in kept.glob("0/*.yml")} == {file.name for file in PACK.glob("*.yml")}
    assert kept.stat().st_uid == (settings.users.recorder or 0)


def newest(node: Node, wanted: str, **query: Any) -> dict[str, Any]:
    """The newest record of that kind which names the rule or the words, once there is one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        records = node.stage.records(limit=50, **query)
        found[:] = [r for r in records if wanted in (r.get("rule"), *r.get("detail", "").split())]
        return bool(found)

    node.stage.wait(there, f"no {query} of {wanted}", 10)
    return found[0]


def test_a_cut_ends_a_live_flow_within_a_second_of_its_record(node: Node) -> None:
    with rule(node, 1, SEARCH, "action: cut") as id_:
        answer = node.stage.clients["acme"].curl(f"https://{SEARCH}/{SLOW}")
        assert answer.exit != 0
        close = newest(node, id_, kind="close")
        (opened,) = node.stage.records(kind="open", flow=close["flow"])
        told = newest(node, id_, kind="finding")
    assert close["cause"] == "cut-by-rule"
    assert (close["time"] - opened["time"]) / 1e6 <= 1.0
    assert (told["flow"], told["tenant"], told["host"]) == (close["flow"], "acme", SEARCH)
    assert node.stage.clients["acme"].curl(f"https://{SEARCH}/").status == 200


def test_a_block_refuses_with_451_outlives_the_recorder_and_is_lifted_by_a_person(node: Node) -> None:
    acme, birch = node.stage.clients["acme"], node.stage.clients["birch"]
    with rule(node, 2, PAPERS, "action: block, scope: tenant, for: 10m") as id_:
        since = time.time_ns() // 1000
        acme.curl(f"https://{PAPERS}/")
        node.stage.wait(lambda: newest(node, "workers", kind="action")["time"] >= since, "the block is not in force")
        refused = acme.curl(f"https://{SEARCH}/")
        assert (refused.status, refused.reason) == (451, "regulator-rule")
        deny = newest(node, id_, kind="deny")
        assert (deny["reason"], deny["tenant"], deny["ref"]) == ("regulator-rule", "acme", deny["flow"])
        assert birch.curl("https://code.example/").status == 200
    node.kill("recorder")
    still = acme.curl(f"https://{SEARCH}/")
    assert (still.status, still.reason) == (451, "regulator-rule"), "with the recorder dead"
    node.stage.wait(lambda: node.child("recorder").get("state") == "ready", "no recorder", RESTART)
    (block,) = json.loads(node.stage.feiyu("rule", "blocks", "-o", "json").stdout)
    assert (block["scope"], block["value"], block["rule"]) == ("tenant", "acme", id_)
    assert block["until"] > time.time()
    assert "lifted" in node.feiyu("rule", "lift", block["id"])
    assert acme.curl(f"https://{SEARCH}/").status == 200
    assert "lift block" in newest(node, block["id"], kind="action")["detail"]


# What a real program does, and the rule of the starter pack that tells of it.
DETECTED: dict[str, tuple[str, list[list[str]]]] = {
    "forty hosts are tried": ("scanning_hosts", [["https://h[1-45].nowhere.example/"]]),
    "ten ports of one host are tried": ("scanning_ports", [[f"https://{SEARCH}:[8001-8012]/"]]),
    "data is carried in names": ("dns_tunnel", [["https://mfrggzdfmztwq2lknnwg23tpobyxgq[10-45].nowhere.example/"]]),
    "names are made up under a granted one": ("dns_generated", [["https://q[1-22].code.example/"]]),
    "ports of proxies are tried": ("resale_ports", [["https://vps[1-3].nowhere.example:1080/"]]),
    "another name is said in the tunnel": (
        "name_mismatch_burst", [["--connect-to", f"{VIDEO}:443:{SEARCH}:443", f"https://{VIDEO}/"]] * 3,
    ),
    "forty programs show one credential": (
        "resale_many_programs", [["-A", f"program/{n}", f"https://{SEARCH}/"] for n in range(41)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DETECTED)
def test_the_starter_pack_tells_of(case: str, node: Node) -> None:
    name, commands = DETECTED[case]
    (id_,) = (rule.head.id for rule in load([PACK]).all() if rule.head.name == name)
    client = node.stage.clients["birch" if name == "dns_generated" else "acme"]
    since = time.time_ns() // 1000
    for command in commands:
        client.curl(*command, timeout=60)
    told = newest(node, id_, kind="finding")
    assert told["time"] >= since
    assert told["rule"] == id_
    assert (told.get("values") or {}).get("simulated", 0) == 0
