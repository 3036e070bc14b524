"""The node configuration: what is read, and what each wrong file is told."""

from pathlib import Path

import pytest

from ops.settings import Access, Listener, Settings, SettingsError, load_settings, parse_settings, split_address
from telemetry.evidence.note import VerifierKey
from tenants.model import Side

EXAMPLE = Path(__file__).parents[2] / "configs" / "zone" / "feiyu.yaml"
GOOD = 'node: gw1.zone.example\nlisteners: [{name: plain, address: "10.0.0.1:3128"}]\n'
BESIDE = """access:
- {interface: acc0, site: s, room: r0, prefixes: ["10.0.0.0/24"]}
- {interface: acc1, site: s, room: r1, prefixes: ["10.0.0.128/25"]}
"""
ONE = '{name: t, kind: transparent, address: "10.0.0.1:3130", interface: acc0, demands: [prefix]}'
TAKING = (
    f"node: gw1.zone.example\nlisteners: [{ONE}]\n"
    "access: [{interface: acc0, site: s, room: r, prefixes: [10.0.0.0/24]}]\n"
)


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "f.yaml")
    return [(p.line, p.wrong, p.expected) for p in caught.value.problems]


def test_the_example_is_valid_and_its_comments_show_the_defaults() -> None:
    settings = load_settings(EXAMPLE)
    assert settings.users.worker == 62001
    assert settings.users.group == 62009
    assert settings.users.processes == {62000, 62001, 62002, 62003, 62004, 62005, 62006, 62007}
    assert settings.access[0].side is Side.OFFSHORE
    shown = EXAMPLE.read_text().replace("#   ", "  ")
    for key in ("health", "limits"):
        shown = shown.replace(f"# {key}:", f"{key}:")
    for key in (
        "state_dir",
        "inspectors",
        "run_dir",
        "management",
        "line_base",
        "timeouts",
        "max_staleness",
        "ca",
        "evidence",
        "retention",
        "rules",
        "streams",
        "metrics",
        "portal_name",
        "pac",
        "regulators",
    ):
        shown = shown.replace(f"# {key}: ", f"{key}: ")
    assert shown != EXAMPLE.read_text()
    assert parse_settings(shown, "shown") == settings


def test_settings_survive_the_way_to_a_child() -> None:
    settings = load_settings(EXAMPLE)
    assert parse_settings(settings.to_json(), "json") == settings
    with_token = GOOD.replace("}]", ", kind: http, tls: {certificate: /c, key: /k}}]")
    secure = parse_settings(with_token, "f.yaml")
    assert parse_settings(secure.to_json(), "json") == secure, "TLS without certificates of clients"
    least = parse_settings(GOOD, "f.yaml")
    assert parse_settings(least.to_json(), "json") == least
    assert least.worker_count >= 1
    assert least.users.worker is None
    assert least.users.processes == frozenset()


def test_sinks_of_every_kind_are_read_and_survive_the_way_to_a_child() -> None:
    text = (
        GOOD
        + """streams:
  - {name: archive, kind: file, to: /var/log/x, kinds: [deny, finding], format: ecs, begin: oldest}
  - {name: soc, kind: syslog, to: "siem.zone.example:6514", ca: /ca, certificate: /c, key: /k, format: ocsf}
  - {name: six, kind: syslog, to: "[fd00::1]:6514"}
  - {name: pager, kind: webhook, to: "https://hook.zone.example/x?team=1", secret: /s}
  - {name: bus, kind: nats, to: "nats://127.0.0.1:4222", credentials: /n, stream: ZONE, subject: zone.records}
"""
    )
    settings = parse_settings(text, "f.yaml")
    assert [sink.kind for sink in settings.streams] == ["file", "syslog", "syslog", "webhook", "nats"]
    assert settings.streams[0].wanted == {"deny", "finding"}
    assert settings.streams[3].wanted == {"finding"}
    assert "heartbeat" not in settings.streams[4].wanted
    assert parse_settings(settings.to_json(), "json") == settings


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
    behind = GOOD.replace("name: plain", 'name: s, kind: socks5, proxy_protocol: ["10.0.0.8/32", "fd00:1::8/128"]')
    listener = parse_settings(behind, "f.yaml").listeners[0]
    assert (listener.kind, listener.proxy_protocol) == ("socks5", ("10.0.0.8/32", "fd00:1::8/128"))
    assert listener.demands == ("token", "prefix")
    assert split_address("[::]:3128") == ("::", 3128)
    assert settings.listeners[0].endpoint == ("10.0.0.1", 3128)


LOG_KEY = str(VerifierKey("gw1.zone.example/flows", 1, bytes(32)))

WRONG = {
    "a quorum of more witnesses than there are": (
        f"{GOOD}evidence: {{quorum: 1}}\n",
        3,
        "quorum 1 cannot be had of 0 witnesses",
        "at most as many",
    ),
    "a witness with the key of a log": (
        f"{GOOD}evidence: {{witnesses: [{{url: 'https://w1.example', key: {LOG_KEY}}}]}}\n",
        3,
        "is not one for cosignatures",
        "NAME+ID+KEY",
    ),
    "a second signature of no known kind": (f"{GOOD}evidence: {{signatures: [rsa]}}\n", 3, "'rsa'", "mldsa44, sm2"),
    "records kept for less than the law wants": (f"{GOOD}retention: {{days: 183}}\n", 3, "183", "from 184"),
    "records kept for longer than the ceiling": (
        f"{GOOD}retention: {{days: 400, ceiling: 365}}\n",
        3,
        "days is more than ceiling",
        "at most the ceiling",
    ),
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
    "an unknown key is told all": (f"{GOOD}zzz: 1\n", 3, "unknown key 'zzz'", "access, ca, evidence, health"),
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
    "TLS on a plain listener": (
        GOOD.replace('3128"', '3128", tls: {certificate: /a, key: /b, client_ca: /c}'),
        2,
        "plain: is of kind plain and has tls",
        "kind: http",
    ),
    "a certificate demanded of nobody's CA": (
        GOOD.replace('3128"', '3128", kind: http, demands: [certificate, prefix], tls: {certificate: /a, key: /b}'),
        2,
        "client_ca and demands do not belong together",
        "only there",
    ),
    "a CA whose certificates nobody demands": (
        GOOD.replace('3128"', '3128", kind: http, tls: {certificate: /a, key: /b, client_ca: /c}'),
        2,
        "client_ca and demands do not belong together",
        "only there",
    ),
    "a certificate demanded without TLS": (
        GOOD.replace('3128"', '3128", demands: [certificate, prefix]'),
        2,
        "plain: demands a certificate without tls",
        "kind: http and tls",
    ),
    "TLS without a key": (
        GOOD.replace('3128"', '3128", kind: http, tls: {certificate: /a, client_ca: /c}'),
        2,
        "key is missing",
        "key",
    ),
    "a certificate by a relative path": (
        GOOD.replace('3128"', '3128", kind: http, tls: {certificate: a, key: /b, client_ca: /c}'),
        2,
        "not an absolute path",
        "absolute path",
    ),
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
    "a balancer that is everybody": (
        GOOD.replace("name: plain", 'name: plain, proxy_protocol: ["0.0.0.0/0"]'),
        2,
        "from anywhere",
        "balancers",
    ),
    "a balancer by address alone": (
        GOOD.replace("name: plain", 'name: plain, proxy_protocol: ["10.0.0.8"]'),
        2,
        "no prefix length",
        "balancers",
    ),
    "a listener without the prefix": (
        GOOD.replace("name: plain", "name: plain, demands: [token]"),
        2,
        "does not demand the prefix",
        "[prefix]",
    ),
    "a demand that there is not": (
        GOOD.replace("name: plain", "name: plain, demands: [prefix, goodwill]"),
        2,
        "'goodwill'",
        "token, prefix",
    ),
    "no demand at all": (GOOD.replace("name: plain", "name: plain, demands: []"), 2, "empty", "demands"),
    "a balancer twice": (
        GOOD.replace("name: plain", 'name: plain, proxy_protocol: ["10.0.0.8/32", "10.0.0.8/32"]'),
        2,
        "already",
        "once",
    ),
    "one balancer where a list belongs": (
        GOOD.replace("name: plain", "name: plain, proxy_protocol: 10.0.0.8/32"),
        2,
        "is not a list",
        "balancers",
    ),
    "a transparent listener without an interface": (
        TAKING.replace(", interface: acc0,", ","),
        2,
        "interface '' is none under access",
        "one of them",
    ),
    "a transparent listener of a line's interface": (
        TAKING.replace(", interface: acc0, dem", ", interface: hk1, dem"),
        2,
        "'hk1' is none under access",
        "one of",
    ),
    "a transparent listener that demands a token": (
        TAKING.replace(", demands: [prefix]", ""),
        2,
        "show no token",
        "demands: [prefix]",
    ),
    "a transparent listener on all addresses": (TAKING.replace("10.0.0.1:", "0.0.0.0:"), 2, "listens on 0", "one add"),
    "a transparent listener behind a balancer": (
        TAKING.replace("demands:", 'proxy_protocol: ["10.0.0.8/32"], demands:'),
        2,
        "no PROXY header",
        "no proxy_p",
    ),
    "two transparent listeners of one interface": (
        TAKING.replace("[{", "[" + ONE.replace("name: t", "name: u").replace(":3130", ":3131") + ", {", 1),
        2,
        "u and t are both transparent for acc0 in IPv4",
        "one for each interface and family",
    ),
    "a listener of no interface, where two have the same addresses": (
        GOOD + BESIDE,
        2,
        "plain is for all interfaces, and acc0 and acc1 have the same addresses behind them",
        "interface: that",
    ),
    "a transparent mark that is a line's": (
        f"{TAKING}line_base: {{transparent_mark: 0x46000700}}\n",
        4,
        "could be a line's",
        "a mark outside those",
    ),
    "lines' marks that take in the transparent one": (
        f"{TAKING}line_base: {{mark: 0, mark_mask: 0xff00}}\n",
        4,
        "0x47000000 could be a line's",
        "a mark outside",
    ),
    "a transparent mark of nothing": (f"{GOOD}line_base: {{transparent_mark: 0}}\n", 3, "is out of range", "1 to"),
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
    "an interface name with a quote": (
        GOOD + 'access: [{interface: "a\'b", site: s, room: r, prefixes: [10.0.0.0/24]}]\n',
        3,
        "not valid",
        "quotes",
    ),
    "an interface name too long": (
        GOOD + "access: [{interface: a234567890123456, site: s, room: r, prefixes: [10.0.0.0/24]}]\n",
        3,
        "'a234567890123456'",
        "15 ASCII characters",
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
    "a register that is no database": (f"{GOOD}register: mysql://h/d\n", 3, "not the address of a", "postgresql://"),
    "a register with a password": (f"{GOOD}register: postgresql://u:p@h/d\n", 3, "a password stands in it", "passfile"),
    "a register with one behind": (
        f"{GOOD}register: postgresql://h/d?password=p\n",
        3,
        "everybody may read",
        "passfile",
    ),
    "a YAML tag that would make an object": (f"{GOOD}portal: !!python/name:os.system x\n", 3, "is not text", "URL"),
    "a sink of an unknown kind": (
        f"{GOOD}streams: [{{name: a, kind: kafka, to: x}}]\n",
        3,
        "'kafka' is not valid",
        "file, syslog, webhook, nats",
    ),
    "a file sink with a relative path": (
        f"{GOOD}streams: [{{name: a, kind: file, to: x/y}}]\n",
        3,
        "a: to 'x/y' is nothing that kind file",
        "an absolute path",
    ),
    "a syslog sink without a port": (
        f"{GOOD}streams: [{{name: a, kind: syslog, to: siem.example}}]\n",
        3,
        "nothing that kind syslog",
        "HOST:PORT",
    ),
    "a webhook over plain HTTP": (
        f'{GOOD}streams: [{{name: a, kind: webhook, to: "http://x/", secret: /s}}]\n',
        3,
        "nothing that kind webhook",
        "https://",
    ),
    "a webhook without a secret": (
        f'{GOOD}streams: [{{name: a, kind: webhook, to: "https://x/"}}]\n',
        3,
        "a has no secret",
        "whsec_",
    ),
    "NATS without TLS to another machine": (
        f'{GOOD}streams: [{{name: a, kind: nats, to: "nats://10.0.0.9:4222"}}]\n',
        3,
        "nothing that kind nats",
        "tls://HOST:PORT",
    ),
    "a password in a URL": (
        f'{GOOD}streams: [{{name: a, kind: nats, to: "tls://u:p@n.example:4222"}}]\n',
        3,
        "nothing that kind nats",
        "tls://HOST:PORT",
    ),
    "a key that another kind has": (
        f"{GOOD}streams: [{{name: a, kind: file, to: /x, secret: /s}}]\n",
        3,
        "a is of kind file and has secret",
        "webhook",
    ),
    "a certificate without its key": (
        f'{GOOD}streams: [{{name: a, kind: syslog, to: "x:1", certificate: /c}}]\n',
        3,
        "certificate or key alone",
        "both",
    ),
    "two sinks in one file": (
        f"{GOOD}streams: [{{name: a, kind: file, to: /x}}, {{name: b, kind: file, to: /x}}]\n",
        3,
        "a and b both write /x",
        "a file for each",
    ),
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


def test_transparent_listeners_of_one_interface_in_both_families() -> None:
    both = TAKING.replace("[{", "[" + ONE.replace("name: t", "name: u").replace("10.0.0.1", "[fd00::1]") + ", {", 1)
    assert [listener.is_transparent for listener in parse_settings(both, "f.yaml").listeners] == [True, True]


@pytest.mark.parametrize(
    ("listener", "second"),
    [
        ("address: '10.0.0.1:1', interface: acc0", "10.0.0.128/25"),
        ("address: '[fd00::1]:1'", "10.0.0.128/25"),
        ("address: '127.0.0.1:1'", "10.0.0.128/25"),
        ("address: '10.0.0.1:1'", "10.0.1.0/24"),
    ],
    ids=["of one of them", "of the other family", "of this host alone", "other addresses"],
)
def test_equal_addresses_behind_two_interfaces_do_not_matter_to_a_listener(listener: str, second: str) -> None:
    places = "".join(
        f"- {{interface: acc{n}, site: s, room: r{n}, prefixes: ['{prefix}']}}\n"
        for n, prefix in enumerate(("10.0.0.0/24", second))
    )
    parse_settings(f"node: gw1\nlisteners:\n- {{name: a, {listener}}}\naccess:\n{places}", "f.yaml")


def test_settings_cannot_be_changed() -> None:
    settings: Settings = parse_settings(GOOD, "f.yaml")
    with pytest.raises(AttributeError):
        settings.workers = 5  # type: ignore[misc]  # that it is frozen is what this asserts
