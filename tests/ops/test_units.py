"""The systemd units: what must be in force before what, and what no process of the node may have."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "configs" / "systemd"


def read(name: str) -> dict[str, list[str]]:
    """Words by key, of all lines with it."""
    found: dict[str, list[str]] = {}
    for row in (UNITS / name).read_text().splitlines():
        key, equals, value = row.partition("=")
        if equals and not row.startswith("#"):
            found.setdefault(key, []).extend(value.split())
    return found


def test_the_kill_switch_is_loaded_before_the_network_and_stays() -> None:
    unit = read("feiyu-killswitch.service")
    assert {"network-pre.target", "feiyu.service", "feiyu-lines.service"} <= set(unit["Before"])
    assert "network-pre.target" in unit["Wants"]  # without it nothing is ordered behind that target
    assert unit["DefaultDependencies"] == ["no"]  # else it would wait for basic.target, which is behind the network
    assert "nftables.service" in unit["After"]  # which may flush all tables
    assert unit["ExecStart"][-1].endswith("killswitch.nft")
    assert "ExecStop" not in unit
    assert unit["WantedBy"] == ["sysinit.target"]


def test_the_node_starts_behind_the_kill_switch() -> None:
    for name in ("feiyu.service", "feiyu-lines.service"):
        assert "feiyu-killswitch.service" in read(name)["After"]


def test_no_process_of_the_node_may_have_a_packet_socket() -> None:
    for name in ("feiyu.service", "feiyu-lines.service"):
        families = set(read(name)["RestrictAddressFamilies"])
        assert families == {"AF_UNIX", "AF_NETLINK", "AF_INET", "AF_INET6"}


def test_lines_have_one_capability() -> None:
    unit = read("feiyu-lines.service")
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_NET_ADMIN"]
    assert unit["NoNewPrivileges"] == ["yes"]


def test_the_drop_in_for_networkd_is_one_that_check_takes(tmp_path: Path) -> None:
    from ops.doctor.finding import Level
    from ops.doctor.lines import networkd

    assert networkd([UNITS / "10-feiyu-networkd.conf"], runs=True).level is Level.OK


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS.glob("*.service"):  # the programs of an installed node are not here
        rows = path.read_text().splitlines()
        named = [f"ExecStart={program}" if row.startswith("ExecStart=") else row for row in rows]
        (tmp_path / path.name).write_text("\n".join(named) + "\n")
    units = [str(path) for path in sorted(tmp_path.glob("*.service"))]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    own = [row for row in done.stderr.splitlines() if "feiyu" in row]
    assert own == []
