"""The doctor's look into the kernel, in a network namespace of its own that ends with the process in it."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ops.doctor.running import hub_state, lines_in_kernel
from ops.settings import Access, Settings

PROGRAM = """
    import subprocess, sys
    from gateway.line.keeper import Keeper
    from gateway.line.model import Access, NodeConfig
    from ops.doctor.kernel import read_back
    from whitelist.model import Line

    def ip(words):
        subprocess.run(["ip", *words.split()], check=True)

    def doctor(title):
        for found in read_back(node, [line]):
            print(title, found.level, found.name, found.seen, sep="|")

    ip("link set lo up")
    ip("link add l1 type veth peer name far")
    ip("link set far up")
    ip("addr add 192.0.2.2/24 dev l1")
    ip("link set l1 up")
    node = NodeConfig(access=(Access(interface="acc0", prefixes=("10.1.0.0/24",)),), listener_ports=(3128,))
    line = Line(id="hk1", index=1, device="l1", gateway4="192.0.2.1", source4="192.0.2.2", resolvers=("192.0.2.53",))
    doctor("before")
    keeper = Keeper(node, lambda *_: None, lambda *_, **__: None)
    keeper.want([line])
    keeper.sweep()
    doctor("held")
    for deleted in sys.argv[1:]:
        subprocess.run(deleted.split(), check=True)
    doctor("after")
"""


def doctor(*deleted: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Findings (level, seen) by name, before the lines were set up, then, and after these commands."""
    command = ["unshare", "--net", sys.executable, "-c", textwrap.dedent(PROGRAM), *deleted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in done.stdout.splitlines():
        title, level, name, seen = row.split("|", 3)
        found.setdefault(title, {})[name] = (level, seen)
    return found


@pytest.mark.parametrize(
    ("in_use", "told"),
    [
        pytest.param({"hk1"}, {"line hk1": "ok"}, id="a line that is retired is left out"),
        pytest.param(None, {"line hk1": "ok", "line old": "fail"}, id="all are told where control says nothing"),
    ],
)
def test_the_doctor_looks_at_lines_in_use(in_use: set[str] | None, told: dict[str, str]) -> None:
    live = {"lines": {"hk1": "up", "old": "down"}}
    found = {one.name: one.level.value for one in hub_state(live, 0, in_use)}
    assert {name: level for name, level in found.items() if name.startswith("line ")} == told


@pytest.mark.root
def test_what_was_taken_out_of_the_kernel_is_named() -> None:
    found = doctor("ip route flush table 4601")
    assert found["before"]["kill switch"][0] == "fail"
    assert found["before"]["kernel rules"][0] == "fail"
    assert found["held"]["kill switch"] == ("ok", "table inet feiyu")
    assert found["held"]["kernel rules"][0] == "ok"
    assert found["after"]["kill switch"][0] == "ok"
    level, seen = found["after"]["kernel rules"]
    assert level == "fail"
    assert "add " in seen
    assert "4601" in seen


@pytest.mark.root
def test_a_table_that_was_removed_is_missed() -> None:
    found = doctor("nft delete table inet feiyu")
    assert found["after"]["kill switch"] == ("fail", "the table inet feiyu is not loaded")
    assert found["after"]["kernel rules"][0] == "ok"


def test_outside_the_nodes_namespace_nothing_is_said_of_its_kernel(tmp_path: Path) -> None:
    settings = Settings(
        node="gw1",
        listeners=(),
        state_dir=str(tmp_path),
        run_dir=str(tmp_path),
        access=(Access(interface="acc-elsewhere", prefixes=("10.0.0.0/24",), site="s1", room="r1"),),
    )
    items = [{"id": "hk1", "device": "l-elsewhere"}]

    class Control:
        def get(self, path: str) -> dict[str, Any]:
            return {"items": items}

    (told,) = lines_in_kernel(settings, Control())
    assert told.seen == (
        "none of the node's devices is here: acc-elsewhere, l-elsewhere; nothing of the kernel was read"
    )
    assert "ip netns exec NAME" in told.remedy
