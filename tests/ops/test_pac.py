"""PAC files in a JavaScript engine: what goes through the gateway, and that nothing in them is code but ours.

The names and prefixes come from the register; the script is also run as the plain ECMAScript it claims to be: in an
empty context, without the helpers that browsers add (dnsDomainIs, isInNet), which ask name servers."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from ops.portal import pac
from ops.portal.ways import Way, ways
from ops.settings import Access, Listener, Pac, Settings, parse_settings
from tenants.model import Place, Tenant
from whitelist.holdings import Held, Holdings
from whitelist.model import Endpoint, Grant, GrantState, Service, Window

NODE = shutil.which("node")
GATEWAYS = "PROXY 10.0.0.1:3128; HTTPS gw.zone.example:3129; PROXY [fd00:1::1]:3128"
WAYS = [
    Way("http", "10.0.0.1:3128"),
    Way("https", "gw.zone.example:3129"),
    Way("socks5h", "10.0.0.1:1080"),
    Way("http", "[fd00:1::1]:3128"),
]
TARGETS = ("arxiv.org", "*.arxiv.org", "xn--bcher-kva.example", "203.0.113.0/28", "2001:db8:a::/47", "10.9.0.0/16")
RUN = """
const vm = require("vm"), [script, hosts] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const context = vm.createContext(Object.create(null));
vm.runInContext(script, context, {timeout: 1000});
const before = vm.runInContext("Object.getOwnPropertyNames(this).length", context);
const found = hosts.map((host) => {
  context.url = "https://" + host + "/"; context.host = host;
  return vm.runInContext("FindProxyForURL(url, host)", context, {timeout: 1000});
});
console.log(JSON.stringify([found, Object.keys(context).sort()]));
"""


def held(
    *targets: str, tenant: str = "acme", state: GrantState = GrantState.EFFECTIVE, until: int = 1 << 40
) -> Holdings:
    firm = Tenant(id=tenant, name=tenant, valid_from=0, valid_until=1 << 40)
    endpoints = tuple(Endpoint(target=target) for target in targets)
    window = Window(valid_from=0, valid_until=until)
    grant = Grant(id="g", subject="tenant:acme", object="service:s", lines=("hk1",), window=window, state=state)
    return Holdings(firm, (Held(grant, (Service(id="s", name="s", endpoints=endpoints),)),), (), 7)


def evaluated(script: str, hosts: Iterable[str]) -> list[str]:
    """What node says to each host. Only FindProxyForURL may have come into the context."""
    if NODE is None:
        pytest.skip("needs node")
    done = subprocess.run(
        [NODE, "-e", RUN],
        input=json.dumps([script, list(hosts)]),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    found, names = json.loads(done.stdout)
    assert names == ["FindProxyForURL", "host", "url"]
    return list(found)


VERDICTS = {
    # host as browsers give it: by whitelist with the rest direct, with the rest to the gateway, and all to the gateway
    "arxiv.org": "GGG",
    "ARXIV.ORG": "GGG",
    "arxiv.org.": "GGG",
    "export.arxiv.org": "GGG",
    "a.b.arxiv.org": "GGG",
    "notarxiv.org": "DGG",
    "arxiv.org.evil.example": "DGG",
    "org": "DDD",
    "xn--bcher-kva.example": "GGG",
    "www.xn--bcher-kva.example": "DGG",
    "203.0.113.0": "GGG",
    "203.0.113.15": "GGG",
    "203.0.113.16": "DGG",
    "[2001:db8:a::1]": "GGG",
    "2001:db8:b:ffff::": "GGG",
    "2001:db8:c::": "DGG",
    "2001:db8:9:ffff:ffff:ffff:ffff:ffff": "DGG",
    "::ffff:203.0.113.1": "DGG",
    "10.9.1.1": "GGG",  # whitelisted, though it looks like the firm's own network
    "10.8.1.1": "DDD",
    "127.0.0.1": "DDD",
    "::1": "DDD",
    "192.168.1.1": "DDD",
    "172.31.0.1": "DDD",
    "172.32.0.1": "DGG",
    "fe80::1": "DDD",
    "fd00::1": "DDD",
    "localhost": "DDD",
    "x.localhost": "DDD",
    "printer": "DDD",
    "feiyu.zone": "GGG",
    "www.feiyu.zone": "DGG",
    "baidu.com": "DGG",
    "constructor": "DDD",
    "constructor.prototype": "DGG",
    "__proto__": "DDD",
    "hasownproperty.tostring": "DGG",
    "": "DDD",
}
MODES: list[dict[str, Any]] = [{}, {"others": "proxy"}, {"hosts": "all"}]


@pytest.mark.parametrize("mode", range(3))
def test_where_each_host_goes(mode: int) -> None:
    script = pac.render(held(*TARGETS), WAYS, "feiyu.zone", **MODES[mode])
    found = evaluated(script, VERDICTS)
    expected = [GATEWAYS if verdict[mode] == "G" else "DIRECT" for verdict in VERDICTS.values()]
    assert dict(zip(VERDICTS, found, strict=True)) == dict(zip(VERDICTS, expected, strict=True))


def test_no_gateway_is_followed_by_direct() -> None:
    for mode in MODES:
        for answer in evaluated(pac.render(held(*TARGETS), WAYS, "feiyu.zone", **mode), VERDICTS):
            assert answer == "DIRECT" or "DIRECT" not in answer


def test_all_hosts_need_no_word_of_the_whitelist() -> None:
    assert "arxiv" not in pac.render(held(*TARGETS), WAYS, "feiyu.zone", hosts="all")


def test_what_is_suspended_or_over_still_goes_to_the_gateway_which_says_so() -> None:
    for holdings in (held("arxiv.org", state=GrantState.SUSPENDED), held("arxiv.org", until=5)):
        assert evaluated(pac.render(holdings, WAYS, "feiyu.zone"), ["arxiv.org"]) == [GATEWAYS]


EVIL = [
    '"; throw 1; //', "\\", '\\"]};evil()//', "</script><script>alert(1)</script>", "*/ evil() /*", "a\nb", "a\r\nb",
    "\u2028evil()", "${evil()}", "$gateways", "$$", "'+evil()+'", "__proto__", "constructor", "\x00", "\ud800",
    "北京.example",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_nothing_from_the_register_becomes_code(text: str) -> None:
    # The register takes none of these; the script must hold even where it did.
    targets = () if "/" in text else (text, f"*.{text}")  # with a slash it would be a prefix
    script = pac.render(held(*targets, tenant=text), WAYS, "feiyu.zone")
    assert script.isascii()
    assert evaluated(script, ["baidu.com", text.lower()])[0] == "DIRECT"
    if targets:
        assert evaluated(script, [text.lower(), f"www.{text.lower()}"]) == [GATEWAYS] * 2


def test_a_listener_that_wants_a_machines_certificate_is_not_for_browsers() -> None:
    machines = Way("https", "10.0.0.1:3130", listener="machines", certificate=True)
    assert "3130" not in pac.render(held("arxiv.org"), [*WAYS, machines], "feiyu.zone")
    with pytest.raises(ValueError, match="no plain or TLS listener"):
        pac.render(held("arxiv.org"), [machines], "feiyu.zone")


def test_without_a_way_for_browsers_there_is_no_script() -> None:
    with pytest.raises(ValueError, match="no plain or TLS listener"):
        pac.render(held("arxiv.org"), [Way("socks5h", "10.0.0.1:1080")], "feiyu.zone")


def test_the_script_is_for_engines_of_ecmascript_3_too() -> None:
    script = pac.render(held(*TARGETS), WAYS, "feiyu.zone")
    for newer in (
        "=>",
        "let ",
        "const ",
        "`",
        ".includes(",
        ".startsWith(",
        "JSON.",
        ".map(",
        ".forEach(",
        "for (var k of",
    ):
        assert newer not in script, newer
    assert not any(name in script for name in ("dnsResolve", "isInNet", "isResolvable", "myIpAddress", "eval("))


# ---- which gateways

LISTENERS = (
    Listener(name="near", address="10.0.0.1:3128"),
    Listener(name="other", address="10.1.0.1:3128"),
    Listener(name="only-b", address="192.0.2.1:3128", interface="acc-b"),
    Listener(name="behind", address="10.0.0.1:3130", proxy_protocol=("10.0.0.8/32",)),
    Listener(name="socks", kind="socks5", address="10.0.0.1:1080", demands=("prefix",)),
    Listener(name="six", address="[fd00:1::1]:3128"),
    Listener(name="any", address="0.0.0.0:3140"),
)
SETTINGS = Settings(
    node="gw1.zone.example",
    listeners=LISTENERS,
    access=(
        Access(interface="acc-a", site="s", room="r", prefixes=("10.0.0.0/24", "fd00:1::/64")),
        Access(interface="acc-b", site="s", room="q", prefixes=("10.1.0.0/24",)),
    ),
)


def test_a_firm_is_told_of_the_listeners_on_its_own_access_network() -> None:
    found = [way.url for way in ways(SETTINGS, ["acc-a"])]
    assert found == [
        "http://10.0.0.1:3128", "socks5h://10.0.0.1:1080", "http://[fd00:1::1]:3128", "http://gw1.zone.example:3140",
    ]  # fmt: skip
    assert [way.url for way in ways(SETTINGS, ["acc-b"])][:2] == ["http://10.1.0.1:3128", "http://192.0.2.1:3128"]
    assert [way.token for way in ways(SETTINGS, ["acc-a"])] == [True, False, True, True]


def test_the_listener_it_came_by_is_first_and_names_the_one_on_all_addresses() -> None:
    found = [way.address for way in ways(SETTINGS, ["acc-a"], "[fd00:1::1]:3128")]
    assert found == ["[fd00:1::1]:3128", "10.0.0.1:3128", "10.0.0.1:1080", "[fd00:1::1]:3140"]


def test_gateways_of_the_settings_stand_instead_of_the_listeners() -> None:
    named = replace(SETTINGS, pac=Pac(gateways=("https://gw.zone.example:3129", "http://[fd00::9]:3128")))
    found = ways(named, ["acc-a"])
    assert [way.url for way in found] == [
        "https://gw.zone.example:3129", "http://[fd00::9]:3128", "socks5h://10.0.0.1:1080",
    ]  # fmt: skip
    script = pac.render(held("arxiv.org"), found, "feiyu.zone")
    assert evaluated(script, ["arxiv.org"]) == ["HTTPS gw.zone.example:3129; PROXY [fd00::9]:3128"]


def test_settings_take_no_gateway_that_could_be_more_than_an_address() -> None:
    good = 'node: gw1\nlisteners: [{name: a, address: "10.0.0.1:3128"}]\npac: {gateways: ["%s"]}\n'
    assert parse_settings(good % "https://gw.zone.example:3129", "f").pac.gateways == ("https://gw.zone.example:3129",)
    for bad in ("10.0.0.1:3128", "socks://h:1", "http://h", "http://h:0", "http://h:99999", "http://h:1; DIRECT",
                "http://a b:1", "http://u@h:1", "http://h:1/", "http://H:1", "http://[::1:1", "http://10.0.0.01:1",
                "http://:1", "http://h:01"):  # fmt: skip
        with pytest.raises(Exception, match="gateways"):
            parse_settings(good % bad, "f")


def test_places_of_a_tenant_are_what_ways_are_chosen_by() -> None:
    place = Place(site="s", room="r", interface="acc-a", prefix="10.0.0.0/24")
    firm = Tenant(id="acme", name="a", valid_from=0, valid_until=1, places=(place,))
    assert ways(SETTINGS, {p.interface for p in firm.places})[0].listener == "near"
