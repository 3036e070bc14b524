"""What is wrong with an item, at which field, in words that say what to do."""

from typing import Any

import msgspec
import pytest

from tenants.model import Credential, Place, Side
from tests.whitelist.policies import NOW, WINDOW, endpoint, grant, service, tenant
from whitelist import validate
from whitelist.model import Category, DataGrade, Deny, Group, Line

LINE = Line(id="hk1", device="wan1", gateway4="192.0.2.1", source4="192.0.2.2", resolvers=("198.51.100.53",))
TOKEN = Credential(id="c-0123456789", tenant="firm-a", token_sha256="0" * 64, valid_until=NOW)
VALIDATORS = {
    "Tenant": validate.validate_tenant,
    "Credential": validate.validate_credential,
    "Group": validate.validate_group,
    "Category": validate.validate_category,
    "Service": validate.validate_service,
    "Grant": validate.validate_grant,
    "Deny": validate.validate_deny,
    "Line": validate.validate_line,
}


def errors(item: Any) -> list[tuple[str, str]]:
    """What its validator finds."""
    return VALIDATORS[type(item).__name__](item)


def window(**fields: Any) -> Any:
    """A grant with this window."""
    return grant(window=msgspec.structs.replace(WINDOW, **fields))


def place(**fields: Any) -> Any:
    """A tenant with this place."""
    return tenant(places=(Place(**{"site": "s", "room": "r", "interface": "acc0", "prefix": "10.0.0.0/24", **fields}),))


def line(**fields: Any) -> Any:
    """A line that differs."""
    return msgspec.structs.replace(LINE, **fields)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(tenant(), id="a tenant"),
        pytest.param(tenant(places=(), groups=("a", "b")), id="a tenant without a place yet"),
        pytest.param(tenant(credit_code="91350100M000100Y43"), id="a tenant with a right credit code"),
        pytest.param(TOKEN, id="a credential"),
        pytest.param(Group(id="g"), id="a group"),
        pytest.param(Category(id="c", name="参考"), id="a category with a Chinese name"),
        pytest.param(
            service("s", "api.example.com", "*.cdn.example.com", "203.0.113.0/28", "2001:db8::/48"), id="a service"
        ),
        pytest.param(
            service("s", "*.example.co.uk", "*.xn--fiq228c.example.com"), id="wildcards below an organisation's name"
        ),
        pytest.param(service("s", "r3---sn-x.example.com"), id="a name with hyphens in odd places"),
        pytest.param(grant(), id="a grant"),
        pytest.param(
            grant(subject="group:g", thing="category:c", lines=("b", "a")), id="a grant by group and category"
        ),
        pytest.param(Deny(id="d", target="*.zip"), id="a deny of a whole public suffix"),
        pytest.param(Deny(id="d", target="10.0.0.0/8", ports=(25,)), id="a deny of a prefix"),
        pytest.param(LINE, id="a line"),
        pytest.param(line(gateway6="fe80::1", source6="2001:db8::2"), id="a line of both families"),
    ],
)
def test_nothing_is_wrong_with(item: Any) -> None:
    assert errors(item) == []


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        pytest.param(tenant(name=" "), "name", "is empty", id="a name of spaces"),
        pytest.param(tenant(name="a\nb"), "name", "one line", id="a name of two lines"),
        pytest.param(tenant(name="x" * 201), "name", "at most 200", id="a very long name"),
        pytest.param(
            tenant(valid_until=NOW - 90_000),
            "valid_until",
            "after the beginning",
            id="a term that ends before it begins",
        ),
        pytest.param(tenant(valid_until=NOW * 1000), "valid_until", "Unix seconds", id="milliseconds"),
        pytest.param(
            tenant(credit_code="91350100M000100Y44"), "credit_code", "check character", id="a mistyped credit code"
        ),
        pytest.param(tenant(max_tunnels=-1), "max_tunnels", "needs 0", id="negative tunnels"),
        pytest.param(tenant(groups=("a", "a")), "groups", "twice", id="a group twice"),
        pytest.param(tenant(groups=("a b",)), "groups[0]", "no id", id="a group with a space"),
        pytest.param(place(side=Side.DOMESTIC), "places[0].side", "offshore zone", id="a domestic place"),
        pytest.param(
            place(prefix="10.0.0.1/24"), "places[0].prefix", "write 10.0.0.0/24", id="a prefix with host bits"
        ),
        pytest.param(place(prefix="FD00::/64"), "places[0].prefix", "write fd00::/64", id="a prefix in capitals"),
        pytest.param(place(prefix="10.0.0"), "places[0].prefix", "no IP prefix", id="half a prefix"),
        pytest.param(place(prefix="0.0.0.0/0"), "places[0].prefix", "whole internet", id="everything as a place"),
        pytest.param(place(room=""), "places[0].room", "name the room", id="a place without a room"),
        pytest.param(place(interface="a/b"), "places[0].interface", "network device", id="an interface with a slash"),
        pytest.param(
            msgspec.structs.replace(TOKEN, token_sha256="A" * 64), "token_sha256", "hex", id="a digest in capitals"
        ),
        pytest.param(service("s"), "endpoints", "at least one way", id="a service without a way"),
        pytest.param(service("s", "*.com"), "endpoints[0].target", "public suffix com", id="a wildcard over a TLD"),
        pytest.param(
            service("s", "*.co.uk"), "endpoints[0].target", "*.NAME.co.uk", id="a wildcard over a country's suffix"
        ),
        pytest.param(
            service("s", "*.github.io"), "endpoints[0].target", "public suffix", id="a wildcard over a hoster's suffix"
        ),
        pytest.param(
            service("s", "*.xn--55qx5d.cn"), "endpoints[0].target", "public suffix", id="a wildcard over an IDN suffix"
        ),
        pytest.param(
            service("s", "*.foo.ck"), "endpoints[0].target", "public suffix", id="a wildcard over a wildcard rule"
        ),
        pytest.param(
            service("s", "*.intranet"), "endpoints[0].target", "public suffix", id="a wildcard over an unknown TLD"
        ),
        pytest.param(service("s", "*"), "endpoints[0].target", "no host name", id="a wildcard over everything"),
        pytest.param(
            service("s", "a.*.example.com"), "endpoints[0].target", "no host name", id="a wildcard in the middle"
        ),
        pytest.param(service("s", "*.*.example.com"), "endpoints[0].target", "no host name", id="two wildcards"),
        pytest.param(service("s", "api*.example.com"), "endpoints[0].target", "no host name", id="part of a label"),
        pytest.param(service("s", "API.example.com"), "endpoints[0].target", "write api.example.com", id="capitals"),
        pytest.param(
            service("s", "*.API.example.com"),
            "endpoints[0].target",
            "write *.api.example.com",
            id="capitals below a wildcard",
        ),
        pytest.param(
            service("s", "api.example.com."), "endpoints[0].target", "write api.example.com", id="a dot at the end"
        ),
        pytest.param(
            service("s", "bücher.example.com"),
            "endpoints[0].target",
            "write xn--bcher-kva.example.com",
            id="a name in Unicode",
        ),
        pytest.param(
            service("s", "203.0.113.5"),
            "endpoints[0].target",
            "write it as a prefix: 203.0.113.5/32",
            id="an IPv4 address",
        ),
        pytest.param(service("s", "2001:db8::5"), "endpoints[0].target", "2001:db8::5/128", id="an IPv6 address"),
        pytest.param(service("s", "127.1"), "endpoints[0].target", "no host name", id="an address in disguise"),
        pytest.param(service("s", "localhost"), "endpoints[0].target", "single label", id="a single label"),
        pytest.param(service("s", "http://a.example.com"), "endpoints[0].target", "no IP prefix", id="a URL"),
        pytest.param(service("s", "::/0"), "endpoints[0].target", "whole internet", id="everything as a service"),
        pytest.param(service("s", endpoint("a.example.com", 0)), "endpoints[0].ports", "1 to 65535", id="port 0"),
        pytest.param(service("s", endpoint("a.example.com", 80, 80)), "endpoints[0].ports", "twice", id="a port twice"),
        pytest.param(service("s", "a.example.com", "a.example.com"), "endpoints[1]", "twice", id="an endpoint twice"),
        pytest.param(
            service("s", "a.example.com", special_prefixes=("10.0.0.1",)),
            "special_prefixes[0]",
            "write 10.0.0.1/32",
            id="a bare special address",
        ),
        pytest.param(grant(subject="firm-a"), "subject", "tenant:ID or group:ID", id="a subject of no kind"),
        pytest.param(grant(subject="service:a"), "subject", "tenant:ID or group:ID", id="a subject of the wrong kind"),
        pytest.param(grant(thing="service:"), "object", "service:ID or category:ID", id="an object without a name"),
        pytest.param(grant(lines=()), "lines", "at least one line", id="no line"),
        pytest.param(grant(lines=("a", "a")), "lines", "twice", id="a line twice"),
        pytest.param(grant(data_grade=DataGrade.CORE), "data_grade", "core data never leaves", id="core data"),
        pytest.param(grant(purpose=""), "purpose", "say what", id="no purpose"),
        pytest.param(
            grant(origin_country="China"), "origin_country", "two capital letters", id="a country by its name"
        ),
        pytest.param(grant(origin_country=""), "origin_country", "two capital letters", id="no country of origin"),
        pytest.param(window(valid_until=WINDOW.valid_from), "window.valid_until", "after", id="a window of no length"),
        pytest.param(window(weekdays=(7,)), "window.weekdays", "0 (Monday) to 6", id="an eighth day"),
        pytest.param(window(weekdays=(1, 1)), "window.weekdays", "once", id="a day twice"),
        pytest.param(
            window(start_minute=1320, end_minute=360), "window.end_minute", "two grants", id="hours across midnight"
        ),
        pytest.param(window(end_minute=1441), "window.end_minute", "1440", id="a minute too many"),
        pytest.param(
            window(utc_offset_minutes=8 * 3600), "window.utc_offset_minutes", "-720 to 840", id="an offset in seconds"
        ),
        pytest.param(Deny(id="d", target="*."), "target", "no host name", id="a deny of nothing"),
        pytest.param(line(device=""), "device", "network device", id="no device"),
        pytest.param(line(device="lo"), "device", "loopback", id="the loopback"),
        pytest.param(line(device="a" * 16), "device", "15", id="a device name too long"),
        pytest.param(line(gateway4="192.0.2"), "gateway4", "no IPv4 address", id="half an address"),
        pytest.param(
            line(gateway4="2001:db8::1"), "gateway4", "needs an IPv4 address", id="an address of the other family"
        ),
        pytest.param(line(gateway4=""), "gateway4", "or neither", id="a source without a gateway"),
        pytest.param(line(source4="", gateway4=""), "source4", "of its own", id="no address at all"),
        pytest.param(line(resolvers=("dns.example",)), "resolvers[0]", "no IP address", id="a resolver by name"),
        pytest.param(
            line(valid_from=NOW, valid_until=NOW), "valid_until", "after", id="a contract that ends as it begins"
        ),
    ],
)
def test_wrong_is(item: Any, field: str, words: str) -> None:
    found = errors(item)
    assert [name for name, _ in found] == [field]
    assert words in found[0][1]
