"""The lines process's own command line and configuration."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from gateway.line.killswitch import render
from gateway.line.model import Access, NodeConfig, Transparent
from gateway.line.process import LinesConfig, load_config
from gateway.line.spec import spec_of
from tests.gateway.line.kit import NODE, line


def command(path: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FEIYU_LINES_CONFIG": path}
    arguments = [sys.executable, "-m", "gateway.line.process", *words]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=30)


def test_show_prints_plan_and_table_and_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    path.write_bytes(msgspec.json.encode(LinesConfig(node=NODE, lines=(line(1), line(2, device="acc0")))))
    done = command(str(path), "show")
    assert done.returncode == 1
    assert done.stdout.endswith(render([spec_of(line(1))], NODE))
    assert done.stderr == "line line-2: acc0 is a device of access; give the line its own\n"


@pytest.mark.parametrize("words", [(), ("flush",), ("show", "more")], ids=["no verb", "unknown verb", "two verbs"])
def test_wrong_usage_is_2(words: tuple[str, ...]) -> None:
    done = command("/nonexistent", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run|apply|show|teardown" in done.stderr


BROKEN = {
    "no file": (None, "No such file or directory"),
    "not JSON": ("node: x", "JSON is malformed"),
    "no node": ("{}", "missing required field `node`"),
    "a quote in a device": ('{"node":{"access":[{"interface":"a\\"b","prefixes":[]}]}}', "leave out spaces, quotes"),
    "a broken prefix": ('{"node":{"management":[{"interface":"m","prefixes":["10.0.0.0/33"]}]}}', "10.0.0.0/33"),
    "a port too many": ('{"node":{"listener_ports":[65536]}}', "give 1 to 65535"),
    "root as worker": ('{"node":{"worker_uids":[0]}}', "give the workers a user of their own"),
    "a mask without room": ('{"node":{"mark_mask":4278190080}}', "has no room for the index"),
    "a mark in the index": ('{"node":{"mark_base":256}}', "has no room for the index"),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_configuration_is_refused_with(tmp_path: Path, sentence: str) -> None:
    text, words = BROKEN[sentence]
    path = tmp_path / "lines.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises((OSError, ValueError), match=words) as caught:
        load_config(str(path))
    assert str(path) in str(caught.value)


def test_a_broken_configuration_is_2_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    path.write_text("{}")
    done = command(str(path), "run")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}: ")


def test_a_node_is_checked_wherever_it_is_made() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        NodeConfig(access=(Access(interface="acc0", prefixes=("10.0.0",)),))


ACCESS = (Access(interface="acc0", prefixes=("10.0.0.0/24",)),)
HERE = Transparent(interface="acc0", address="10.0.0.1", port=3130)
IMPOSSIBLE: dict[str, tuple[tuple[Transparent, ...], dict[str, int], str]] = {
    "a device of no clients": ((replace(HERE, interface="l1"),), {}, "give an access interface"),
    "no one address": ((replace(HERE, address="0.0.0.0"),), {}, "give an access interface, an address"),
    "no port": ((replace(HERE, port=0),), {}, "and a port"),
    "two of one device and family": ((HERE, replace(HERE, port=3131)), {}, "two for acc0 in IPv4"),
    "the mark of a line": ((HERE,), {"transparent_mark": 0x46000700}, "0x46000700 is none, or a line's"),
    "the mark of no line, but in their range": ((HERE,), {"transparent_mark": 0x46000000}, "or a line's"),
    "no mark": ((HERE,), {"transparent_mark": 0}, "0x0 is none"),
    "marks of lines without a mask of their own": ((HERE,), {"mark_base": 0, "mark_mask": 0xFF00}, "or a line's"),
}


@pytest.mark.parametrize("sentence", IMPOSSIBLE)
def test_a_node_has_no_transparent_listeners_with(sentence: str) -> None:
    listeners, marks, words = IMPOSSIBLE[sentence]
    with pytest.raises(ValueError, match=words):
        NodeConfig(access=ACCESS, transparent=listeners, **marks)  # type: ignore[arg-type]  # the fields of a table
