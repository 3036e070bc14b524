"""Every modifier of the specification: a value that fulfils it, and one that nearly does."""

import base64
from typing import Any

import pytest
from sigma.modifiers import modifier_mapping

from tests.telemetry.interception.rule_kit import only, record

HTTP = {"method": "GET", "port": 80, "listener": "plain"}
NOON = 1_800_000_000 // 86400 * 86400 + 4 * 3600  # 12:00 of the zone's clocks, in Unix seconds


def web(path: str, **more: Any) -> dict[str, Any]:
    return {**HTTP, "path": path, **more}


def b64(text: str, offset: int) -> str:
    return base64.b64encode(b"x" * offset + text.encode() + b"tail").decode()


# (sentence, detection, records that fulfil it, records that do not)
CASES: list[tuple[str, Any, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("a text is equal without regard to case", {"cs-host": "A.Example"}, [{"host": "a.example"}],
        [{"host": "aa.example"}]),
    ("a list is any of it", {"cs-host": ["a.example", "b.example"]}, [{"host": "b.example"}], [{"host": "c.example"}]),
    ("all keys of a mapping hold together", {"cs-host": "a.example", "dst_port": 8443},
        [{"host": "a.example", "port": 8443}], [{"host": "a.example"}, {"port": 8443}]),
    ("a list of mappings is any of them", [{"cs-host": "a.example"}, {"dst_port": 25}],
        [{"host": "a.example"}, {"port": 25}], [{"port": 26}]),
    ("* stands for any characters", {"c-useragent": "curl/*.1"}, [{"user_agent": "curl/8.0.1"}],
        [{"user_agent": "curl/8.0.2"}]),
    ("? stands for one", {"cs-host": "n?.example"}, [{"host": "n1.example"}], [{"host": "n12.example"},
        {"host": "n.example"}]),
    (r"\* is the character", {"c-useragent": r"a\*b"}, [{"user_agent": "a*b"}], [{"user_agent": "axb"}]),
    ("what is special to patterns is literal beside a wildcard", {"c-useragent": "a(b)+*c"},
        [{"user_agent": "A(B)+..C"}], [{"user_agent": "abbc"}]),
    ("contains", {"cs-host|contains": "paste"}, [{"host": "my.paste.example"}], [{"host": "past.example"}]),
    ("startswith", {"c-useragent|startswith": "curl/"}, [{"user_agent": "CURL/8"}], [{"user_agent": "a curl/8"}]),
    ("endswith", {"cs-host|endswith": ".top"}, [{"host": "x.top"}], [{"host": "x.top.example"}, {"host": "top"}]),
    ("contains all", {"c-useragent|contains|all": ["a", "b"]}, [{"user_agent": "b a"}], [{"user_agent": "a"}]),
    ("cased", {"c-useragent|cased": "Curl"}, [{"user_agent": "Curl"}], [{"user_agent": "curl"}]),
    ("cased contains", {"c-useragent|contains|cased": "Curl"}, [{"user_agent": "xCurl"}], [{"user_agent": "xcurl"}]),
    ("neq", {"cs-host|neq": "a.example"}, [{"host": "b.example"}], [{"host": "a.example"}]),
    ("re", {"cs-host|re": "^n[0-9]+\\."}, [{"host": "n12.example"}], [{"host": "N.example"}]),
    ("re respects case", {"c-useragent|re": "Curl"}, [{"user_agent": "a Curl"}], [{"user_agent": "a curl"}]),
    ("re with i", {"c-useragent|re|i": "Curl"}, [{"user_agent": "a curl"}], [{"user_agent": "crl"}]),
    ("re with ignorecase", {"c-useragent|re|ignorecase": "Curl"}, [{"user_agent": "a curl"}], [{"user_agent": "crl"}]),
    ("re with m", {"c-useragent|re|m": "^b$"}, [{"user_agent": "a\nb"}], [{"user_agent": "ab"}]),
    ("re with multiline", {"c-useragent|re|multiline": "^b$"}, [{"user_agent": "a\nb"}], [{"user_agent": "ab"}]),
    ("re with s", {"c-useragent|re|s": "a.b"}, [{"user_agent": "a\nb"}], [{"user_agent": "ab"}]),
    ("re with dotall", {"c-useragent|re|dotall": "a.b"}, [{"user_agent": "a\nb"}], [{"user_agent": "ab"}]),
    ("a dot of re is no newline", {"c-useragent|re": "a.b"}, [{"user_agent": "a-b"}], [{"user_agent": "a\nb"}]),
    ("cidr", {"src_ip|cidr": "10.0.0.0/24"}, [{"client_ip": "10.0.0.255"}], [{"client_ip": "10.0.1.0"},
        {"client_ip": "::1"}]),
    ("cidr of IPv6", {"src_ip|cidr": "2001:db8::/32"}, [{"client_ip": "2001:db8:1::1"}],
        [{"client_ip": "2001:db9::1"}]),
    ("cidr of a host that is an address", {"cs-host|cidr": "203.0.113.0/24"}, [{"host": "203.0.113.7"}],
        [{"host": "a.example"}]),
    ("gt", {"cs-bytes|gt": 5}, [{"kind": "close", "bytes_out": 6}], [{"kind": "close", "bytes_out": 5}]),
    ("gte", {"cs-bytes|gte": 5}, [{"kind": "close", "bytes_out": 5}], [{"kind": "close", "bytes_out": 4}]),
    ("lt", {"sc-bytes|lt": 5}, [{"kind": "close", "bytes_in": 4}], [{"kind": "close", "bytes_in": 5}]),
    ("lte", {"sc-bytes|lte": 5}, [{"kind": "close", "bytes_in": 5}], [{"kind": "close", "bytes_in": 6}]),
    ("neq of a number", {"dst_port|neq": 443}, [{"port": 80}], [{"port": 443}]),
    ("a number, as number or as text", {"dst_port": "8443"}, [{"port": 8443}], [{"port": 443}]),
    ("exists", {"c-useragent|exists": True}, [{"user_agent": "x"}], [{}]),
    ("exists: false", {"c-useragent|exists": False}, [{}], [{"user_agent": "x"}]),
    ("null is absent", {"sni": None}, [{"kind": "close"}], [{"kind": "close", "sni": "a.example"}]),
    ("an empty text is there and empty", {"c-useragent": ""}, [web("/")], [web("/", user_agent="x"), {}]),
    ("true and false", {"ech": True}, [{"kind": "close", "ech": True}], [{"kind": "close"}]),
    ("fieldref", {"sni|fieldref": "cs-host"}, [{"kind": "close", "sni": "service.example"}], [{"kind": "close",
        "sni": "b"}]),
    ("fieldref endswith", {"sni|fieldref|endswith": "service"},
        [{"kind": "close", "sni": "x.service"}], [{"kind": "close", "sni": "service.x"}]),
    ("fieldref startswith", {"sni|fieldref|startswith": "service"},
        [{"kind": "close", "sni": "service.x"}], [{"kind": "close", "sni": "x.service"}]),
    ("fieldref contains", {"sni|fieldref|contains": "service"},
        [{"kind": "close", "sni": "x.service.x"}], [{"kind": "close", "sni": "x"}]),
    ("expand", {"cs-host|expand": "%bad%"}, [{"host": "b.example"}], [{"host": "%bad%"}]),
    ("expand inside a text", {"cs-host|expand": "n.%bad%"}, [{"host": "n.a.example"}], [{"host": "a.example"}]),
    ("base64", {"c-useragent|base64": "abc"}, [{"user_agent": "YWJj"}], [{"user_agent": "abc"}]),
    ("base64offset", {"c-useragent|base64offset|contains": "Mozilla"},
        [{"user_agent": b64("Mozilla", n)} for n in range(3)], [{"user_agent": b64("Nozilla", 0)}]),
    ("wide", {"c-useragent|wide|base64": "ab"}, [{"user_agent": "YQBiAA=="}], [{"user_agent": "YWI="}]),
    ("utf16be", {"c-useragent|utf16be|base64": "ab"}, [{"user_agent": "AGEAYg=="}], [{"user_agent": "YQBiAA=="}]),
    ("utf16", {"c-useragent|utf16|base64": "ab"}, [{"user_agent": "//5hAGIA"}], [{"user_agent": "YQBiAA=="}]),
    ("windash", {"c-useragent|windash|contains": " -x"}, [{"user_agent": "a /x"}, {"user_agent": "a -x"}],
        [{"user_agent": "x"}]),
    ("minute", {"time|minute": 5}, [{"time": (NOON + 300) * 10**6}], [{"time": NOON * 10**6}]),
    ("hour, of the zone's clocks", {"time|hour": 12}, [{"time": NOON * 10**6}], [{"time": (NOON + 3600) * 10**6}]),
    ("day", {"time|day": 15}, [{"time": NOON * 10**6}], [{"time": (NOON + 86400) * 10**6}]),
    ("week", {"time|week": 2}, [{"time": NOON * 10**6}], [{"time": (NOON + 7 * 86400) * 10**6}]),
    ("month", {"time|month": 1}, [{"time": NOON * 10**6}], [{"time": (NOON + 31 * 86400) * 10**6}]),
    ("year", {"time|year": 2027}, [{"time": NOON * 10**6}], [{"time": (NOON + 365 * 86400) * 10**6}]),
    ("keywords are looked for in all texts", ["evil", "bad"],
        [{"kind": "deny", "host": "an.evil.example"}, {"kind": "deny", "user_agent": "BAD"}], [{"kind": "deny"}]),
    ("all keywords", {"|all": ["evil", "bad"]},
        [{"kind": "deny", "host": "evil.example", "user_agent": "bad"}], [{"kind": "deny", "host": "evil.example"}]),
    ("a keyword with a wildcard", ["e*l.example"], [{"kind": "deny", "host": "evil.example"}], [{"kind": "deny",
        "host": "e.example"}]),
    ("a pattern as keyword", {"|re": "ev[i1]l"}, [{"kind": "deny", "host": "ev1l.example"}], [{"kind": "deny"}]),
    ("c-uri is absolute", {"c-uri": "http://service.example/a"}, [web("/a")], [web("/b"), {}]),
    ("or the path alone", {"c-uri": "/a"}, [web("/a")], [web("/b")]),
    ("another port is in it", {"c-uri|startswith": "http://service.example:8080/"}, [web("/a", port=8080)],
        [web("/a")]),
    ("of a tunnel it is host and port", {"c-uri": "service.example:443"}, [{}], [{"port": 80}]),
    ("IPv6 has brackets there", {"c-uri": "[2001:db8::1]:443"}, [{"host": "2001:db8::1"}], [{"host": "2001:db8::2"}]),
    ("c-uri-extension", {"c-uri-extension": "exe"}, [web("/a/b.exe")], [web("/a.exe/b"), web("/exe"), {}]),
    ("cs-uri-stem", {"cs-uri-stem|startswith": "/api/"}, [web("/api/x")], [web("/x")]),
    ("r-dns is the host", {"r-dns": "service.example"}, [{}], [{"host": "a.example"}]),
    ("sc-status", {"sc-status": 403}, [{"kind": "deny", "status": 403}], [{"kind": "deny", "status": 451}]),
    ("client_prefix, of IPv4 and IPv6", {"client_prefix": ["10.0.0.0/24", "2001:db8:0:1::/64"]},
        [{}, {"client_ip": "2001:db8:0:1::9"}], [{"client_ip": "10.0.1.7"}, {"client_ip": "2001:db8::9"}]),
    ("host_label is the longest label", {"host_label|gte": 10}, [{"host": "a.abcdefghij.example"}],
        [{"host": "203.0.113.199"}]),
]  # fmt: skip
DNS: list[tuple[str, str, Any, dict[str, Any], dict[str, Any]]] = [
    ("dns: query", "dns", {"query|endswith": ".top"}, {"host": "a.top"}, {"host": "a.example"}),
    ("dns: answer", "dns", {"answer": "203.0.113.9"}, {}, {"address": "203.0.113.8"}),
    (
        "firewall: action in its words",
        "firewall",
        {"action": "blocked"},
        {"kind": "deny", "decision": "deny"},
        {"kind": "close"},
    ),
    ("firewall: dst_ip", "firewall", {"dst_ip|cidr": "203.0.113.0/24"}, {}, {"address": "198.51.100.1"}),
    ("webserver: cs-method", "webserver", {"cs-method": "POST"}, web("/", method="POST"), web("/")),
    ("network: DestinationHostname", "network", {"DestinationHostname": "service.example"}, {}, {"host": "a"}),
    ("network_connection is network", "network_connection", {"DestinationPort": 25}, {"port": 25}, {}),
]


@pytest.mark.parametrize(("sentence", "detection", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_modifiers(sentence: str, detection: Any, good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    found = only(_rule(detection), placeholders={"bad": ["a.example", "b.example"]})
    assert [found.holds(record(**fields)) for fields in good] == [True] * len(good), sentence
    assert [found.holds(record(**fields)) for fields in bad] == [False] * len(bad), sentence
    assert all(record(**fields).kind in found.kinds for fields in good), "it is asked of such records"


@pytest.mark.parametrize(("sentence", "category", "detection", "good", "bad"), DNS, ids=[case[0] for case in DNS])
def test_log_sources(sentence: str, category: str, detection: Any, good: dict[str, Any], bad: dict[str, Any]) -> None:
    found = only(_rule(detection, category=category))
    assert found.holds(record(**good)), sentence
    assert not found.holds(record(**bad)), sentence


def test_every_modifier_of_pysigma_stands_in_the_table() -> None:
    keys = [
        key
        for case in CASES
        for d in (case[1] if isinstance(case[1], list) else [case[1]])
        if isinstance(d, dict)
        for key in d
    ]
    used = {modifier for key in keys for modifier in key.split("|")[1:]}
    assert set(modifier_mapping) - used == set()


def _rule(detection: Any, category: str = "proxy") -> dict[str, Any]:
    from tests.telemetry.interception.rule_kit import rule

    return rule(detection, category=category)
