"""What `feiyu check` says of the machine's network: addresses, gateways, and who else changes rules."""

from pathlib import Path
from typing import Any

import pytest

from ops.doctor.finding import Level
from ops.doctor.lines import addresses, networkd

LINE: dict[str, Any] = {"id": "hk1", "device": "l1", "gateway4": "192.0.2.1", "source4": "192.0.2.2"}
HERE = {"l1": ["192.0.2.2/29", "2001:db8:1::2/64"]}

OUTER = {"type": "vxlan", "underlay": "u1", "local": "198.51.100.2", "peer": "198.51.100.5", "gateway": ""}
UNDER = {"u1": ["198.51.100.2/29"]}
SRV6 = {"type": "srv6", "segments": ["5f00::1"], "local": "2001:db8:1::2", "gateway": "fe80::1"}
CASES: dict[str, tuple[dict[str, Any], dict[str, list[str]], list[str]]] = {
    "all is in place": (LINE, HERE, []),
    "a device that is not there is told elsewhere": (LINE, {}, []),
    "a source that is not on the device": (LINE | {"source4": "192.0.2.3"}, HERE, ["192.0.2.3 is not on l1"]),
    "a tenant's source that is not on the device": (
        LINE | {"shares": [{"tenant": "acme", "source4": "192.0.2.4"}]},
        HERE,
        ["192.0.2.4 is not on l1"],
    ),
    "a gateway outside the prefix": (
        LINE | {"gateway4": "192.0.2.9"},
        HERE,
        ["gateway 192.0.2.9 is outside 192.0.2.0/29"],
    ),
    "any gateway behind a point-to-point address": (LINE | {"gateway4": "192.0.2.9"}, {"l1": ["192.0.2.2/32"]}, []),
    "a link-local gateway": (
        LINE | {"gateway6": "fe80::1", "source6": "2001:db8:1::2"},
        HERE,
        [],
    ),
    "a VXLAN whose peer is on-link, its own device not made yet": (LINE | {"encapsulation": OUTER}, UNDER, []),
    "a VXLAN from an address that the underlay lacks": (
        LINE | {"encapsulation": OUTER | {"local": "198.51.100.3"}},
        UNDER,
        ["198.51.100.3 is not on u1"],
    ),
    "a VXLAN whose peer is said to be on-link and is not": (
        LINE | {"encapsulation": OUTER | {"peer": "203.0.113.5"}},
        UNDER,
        ["peer 203.0.113.5 is outside 198.51.100.0/29"],
    ),
    "a VXLAN whose next hop is outside the underlay's prefix": (
        LINE | {"encapsulation": OUTER | {"peer": "203.0.113.5", "gateway": "198.51.100.9"}},
        UNDER,
        ["outer next hop 198.51.100.9 is outside 198.51.100.0/29"],
    ),
    "segments by a link-local next hop": (LINE | {"encapsulation": SRV6, "gateway4": ""}, HERE, []),
    "segments from an address that no device has": (
        LINE | {"encapsulation": SRV6 | {"local": "2001:db8:1::3"}, "gateway4": ""},
        HERE,
        ["2001:db8:1::3 is on no device"],
    ),
    "segments from the loopback's address, by a next hop of the device": (
        LINE | {"encapsulation": SRV6 | {"local": "2001:db8:e::9", "gateway": "2001:db8:1::1"}, "gateway4": ""},
        HERE | {"lo": ["127.0.0.1/8", "2001:db8:e::9/128"]},
        [],
    ),
    "segments from the address of another line's device": (
        LINE | {"encapsulation": SRV6 | {"local": "2001:db8:e::9"}, "gateway4": ""},
        HERE | {"l2": ["2001:db8:e::9/64"]},
        [],
    ),
    "segments by a next hop outside the prefix of their source": (
        LINE | {"encapsulation": SRV6 | {"gateway": "2001:db8:2::1"}, "gateway4": ""},
        HERE,
        ["outer next hop 2001:db8:2::1 is outside 2001:db8:1::/64"],
    ),
    "an IPv6 gateway outside the prefix": (
        LINE | {"gateway6": "2001:db8:2::1", "source6": "2001:db8:1::2"},
        HERE,
        ["gateway 2001:db8:2::1 is outside 2001:db8:1::/64"],
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_of_a_line_it_says_when(sentence: str) -> None:
    line, found, wanted = CASES[sentence]
    findings = list(addresses([line], found))
    assert [finding.seen for finding in findings] == wanted
    assert all(finding.level is Level.FAIL and finding.remedy for finding in findings)


FILES: dict[str, tuple[list[str], Level]] = {
    "no file at all": ([], Level.WARN),
    "one of two settings": (["[Network]\nManageForeignRoutes=no\n"], Level.WARN),
    "both settings": (["[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=false\n"], Level.OK),
    "a drop-in that takes one back": (
        [
            "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n",
            "[Network]\nManageForeignRoutes=yes\n",
        ],
        Level.WARN,
    ),
    "a file that is none": (["ManageForeignRoutes=no\n"], Level.WARN),
    "another section": (["[DHCPv4]\nManageForeignRoutes=no\n"], Level.WARN),
}


@pytest.mark.parametrize("sentence", FILES)
def test_networkd_with(sentence: str, tmp_path: Path) -> None:
    texts, level = FILES[sentence]
    paths = [tmp_path / f"{n}.conf" for n in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    assert networkd(paths, runs=True).level is level
    assert networkd(paths, runs=False).level is Level.OK
