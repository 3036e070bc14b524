"""The node configuration: what is read, and what each wrong file is told."""

from pathlib import Path

import pytest

from ops.settings import Access, Listener, Settings, SettingsError, load_settings, parse_settings, split_address
from tenants.model import Side

EXAMPLE = Path(__file__).parents[2] / "configs" / "zone" / "feiyu.yaml"
GOOD = 'node: gw1.zone.example\nlisteners: [{name: plain, address: "10.0.0.1:3128"}]\n'


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "f.yaml")
    return [(p.line, p.wrong, p.expected) for p in caught.value.problems]


def test_the_example_is_valid_and_its_comments_show_the_defaults() -> None:
    settings = load_settings(EXAMPLE)
    assert settings.users.worker == 62001
    assert settings.users.group == 62009
    assert settings.access[0].side is Side.OFFSHORE
    shown = EXAMPLE.read_text().replace("#   ", "  ")
    for key in ("health", "limits"):
        shown = shown.replace(f"# {key}:", f"{key}:")
    for key in ("state_dir", "run_dir", "management", "line_base", "timeouts", "max_staleness", "metrics", "evidence"):
        shown = shown.replace(f"# {key}: ", f"{key}: ")
    assert shown != EXAMPLE.read_text()
    assert parse_settings(shown, "shown") == settings


def test_settings_survive_the_way_to_a_child() -> None:
    settings = load_settings(EXAMPLE)
    assert parse_settings(settings.to_json(), "json") == settings
    least = parse_settings(GOOD, "f.yaml")
    assert parse_settings(least.to_json(), "json") == least
    assert least.worker_count >= 1
    assert least.users.worker is None


def test_typed_values() -> None:
    settings = parse_settings(
        GOOD + "line_base: {mark: 0x46000000}\ntimeouts: {drain: 0.5}\n"
        'access: [{interface: acc0, site: s, room: r, prefixes: ["fd00:1::/64"], side: domestic}]\n',
        "f.yaml",
    )
    assert settings.listeners == (Listener(name="plain", kind="plain", address="10.0.0.1:3128"),)
    assert settings.line_base.mark == 0x46000000
    assert settings.timeouts.drain == 0.5
    assert settings.access == (
        Access(interface="acc0", site="s", room="r", prefixes=("fd00:1::/64",), side=Side.DOMESTIC),
    )
    assert split_address("[::]:3128") == ("::", 3128)
    assert settings.listeners[0].endpoint == ("10.0.0.1", 3128)


WRONG = {
    "an empty file": ("", 1, "the file is empty", "node"),
    "no mapping at all": ("- 1\n", 1, "a list is not a mapping", "node"),
    "broken YAML": ("node: [\n", 2, "not YAML", "valid YAML"),
    "a control character": ("node: \x01\n", 1, "not YAML", "UTF-8"),
    "nesting that would exhaust the stack": ("[" * 9_000, 1, "nested too deeply", "levels"),
    "two documents": (f"{GOOD}---\n{GOOD}", 3, "another document", "valid YAML"),
    "a mistyped key is told the right one": (
        f"{GOOD}timeout: {{}}\n",
        3,
        "unknown key 'timeout'",
        "'timeouts', perhaps",
    ),
    "an unknown key is told all": (f"{GOOD}zzz: 1\n", 3, "unknown key 'zzz'", "access, evidence, health"),
    "a key twice": (f"{GOOD}node: gw2\n", 3, "'node' stands already in line 1", "once"),
    "a required key left out": ('listeners: [{name: a, address: "1.2.3.4:1"}]\n', 1, "node is missing", "node: "),
    "no listener": ("node: gw1\nlisteners: []\n", 2, "the list is empty", "at least 1"),
    "a mapping where a list belongs": (
        "node: gw1\nlisteners: {a: 1}\n",
        2,
        "a mapping is not a list",
        "list of listeners",
    ),
    "a number where text belongs": (
        GOOD.replace("gw1.zone.example", "5"),
        1,
        "a number ('5') is not text",
        "host name",
    ),
    "a node name with a line break": (GOOD.replace("gw1.zone.example", '"gw1\\n"'), 1, "not valid here", "host name"),
    "an address without port": (GOOD.replace(":3128", ""), 2, "not an address with a port", "ADDRESS:PORT"),
    "port 0": (GOOD.replace(":3128", ":0"), 2, "port 0 is out of range", "ADDRESS:PORT"),
    "port 65536": (GOOD.replace(":3128", ":65536"), 2, "port 65536 is out of range", "ADDRESS:PORT"),
    "a host name to listen on": (
        GOOD.replace("10.0.0.1", "localhost"),
        2,
        "not an address with a port",
        "ADDRESS:PORT",
    ),
    "an address with a leading zero": (GOOD.replace("10.0.0.1", "10.0.0.01"), 2, "eading zero", "ADDRESS:PORT"),
    "IPv6 not canonical": (GOOD.replace("10.0.0.1", "[0::0]"), 2, "'[::]:3128'", "ADDRESS:PORT"),
    "IPv6 without brackets": (GOOD.replace("10.0.0.1", "::1"), 2, "not an address with a port", "quoted"),
    "an unknown kind": (GOOD.replace("name: plain", "name: plain, kind: socks6"), 2, "'socks6'", "one of plain"),
    "two listeners of one name": (
        'node: gw1\nlisteners:\n- {name: a, address: "1.2.3.4:1"}\n- {name: a, address: "1.2.3.4:2"}\n',
        4,
        "name 'a' stands already in line 3",
        "once",
    ),
    "two listeners of one address": (
        'node: gw1\nlisteners:\n- {name: a, address: "1.2.3.4:1"}\n- {name: b, address: "1.2.3.4:1"}\n',
        4,
        "address '1.2.3.4:1' stands already in line 3",
        "once",
    ),
    "a prefix with host bits": (
        GOOD + 'access: [{interface: a, site: s, room: r, prefixes: ["10.0.0.1/24"]}]\n',
        3,
        "not in canonical form, which is '10.0.0.0/24'",
        "prefix",
    ),
    "an IPv6 prefix written long": (
        GOOD + 'access: [{interface: a, site: s, room: r, prefixes: ["fd00:0::/64"]}]\n',
        3,
        "'fd00::/64'",
        "prefix",
    ),
    "an address for a prefix": (
        GOOD + "access: [{interface: a, site: s, room: r, prefixes: [10.0.0.0]}]\n",
        3,
        "no prefix length",
        "prefix",
    ),
    "a prefix of two interfaces": (
        GOOD + "access: [{interface: a, site: s, room: r, prefixes: [10.0.0.0/24]},\n"
        " {interface: b, site: s, room: r, prefixes: [10.0.0.0/24]}]\n",
        3,
        "prefix 10.0.0.0/24 belongs to a and b",
        "one interface",
    ),
    "a side that is none": (
        GOOD + "access: [{interface: a, site: s, room: r, prefixes: [10.0.0.0/24], side: onshore}]\n",
        3,
        "'onshore': no side",
        "offshore, domestic or abroad",
    ),
    "an interface name too long": (
        GOOD + "access: [{interface: a234567890123456, site: s, room: r, prefixes: [10.0.0.0/24]}]\n",
        3,
        "'a234567890123456'",
        "15 characters",
    ),
    "a relative directory": (f"{GOOD}state_dir: var\n", 3, "not an absolute path", "absolute"),
    "a directory that climbs": (f"{GOOD}state_dir: /var/../etc\n", 3, "a dot", "absolute"),
    "a run_dir too long for sockets": (f"{GOOD}run_dir: /{'r' * 80}\n", 3, "longer than 80 bytes", "80 bytes"),
    "one directory for both": (f"{GOOD}state_dir: /x\nrun_dir: /x\n", 4, "the same as state_dir", "its own"),
    "yes where a number belongs": (f"{GOOD}workers: yes\n", 3, "a yes/no value ('yes')", "whole number"),
    "half a worker": (f"{GOOD}workers: 1.5\n", 3, "is not a whole number", "0 to 256"),
    "too many workers": (f"{GOOD}workers: 257\n", 3, "257 is out of range", "0 to 256"),
    "an octal number": (f"{GOOD}workers: 010\n", 3, "base 60 or 8", "0 to 256"),
    "a base-60 number": (f"{GOOD}timeouts: {{idle: 1:30}}\n", 3, "base 60 or 8", "seconds"),
    "not a number": (f"{GOOD}timeouts: {{idle: .nan}}\n", 3, ".nan is out of range", "seconds"),
    "a timeout of 0": (f"{GOOD}timeouts: {{dial: 0}}\n", 3, "dial: 0 is out of range", "0.05"),
    "a number too long to read": (f"{GOOD}workers: {'9' * 5000}\n", 3, "workers:", "0 to 256"),
    "idle longer than total": (f"{GOOD}timeouts: {{idle: 9, total: 8}}\n", 3, "idle is longer than total", "at most"),
    "a mark without room": (f"{GOOD}line_base: {{mark: 0x4600ff00}}\n", 3, "leave no room", "bits 8 to 15"),
    "a mark outside its mask": (f"{GOOD}line_base: {{mark: 0x46000001}}\n", 3, "leave no room", "inside its mask"),
    "uids of the system": (f"{GOOD}users: {{base: 33}}\n", 3, "collides", "1000"),
    "metrics on a listener": (f'{GOOD}metrics: {{address: "10.0.0.1:3128"}}\n', 3, "is a listener's address", "own"),
    "a portal with a header in it": (f'{GOOD}portal: "https://a\\r\\nX: 1"\n', 3, "not a plain URL", "URL"),
    "a portal with a password": (f"{GOOD}portal: https://u:p@a.example\n", 3, "not a plain URL", "URL"),
    "a YAML tag that would make an object": (f"{GOOD}portal: !!python/name:os.system x\n", 3, "is not text", "URL"),
}


@pytest.mark.parametrize(("text", "line", "wrong", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_told(text: str, line: int, wrong: str, expected: str) -> None:
    found = problems(text)
    assert any(at == line and wrong in what and expected in hint for at, what, hint in found), found


def test_all_problems_come_at_once_and_in_order() -> None:
    found = problems('node: 5\nlisteners: [{name: a, address: "x"}]\nworkers: -1\nzzz: 1\n')
    assert [line for line, _, _ in found] == [1, 2, 3, 4]


def test_the_message_is_path_line_wrong_expected(tmp_path: Path) -> None:
    path = tmp_path / "feiyu.yaml"
    path.write_text(GOOD + "workers: x\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert (
        str(caught.value)
        == f"{path}:3: workers: text ('x') is not a whole number; expected a whole number from 0 to 256"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r":1: cannot be read: No such file or directory; expected a readable file"):
        load_settings(tmp_path / "missing.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"node: gw1\nportal: \xe9\n")
    with pytest.raises(SettingsError, match=r":2: byte 0xe9 is not UTF-8"):
        load_settings(path)


def test_settings_cannot_be_changed() -> None:
    settings: Settings = parse_settings(GOOD, "f.yaml")
    with pytest.raises(AttributeError):
        settings.workers = 5  # type: ignore[misc]  # that it is frozen is what this asserts
