"""Log sources and the names that other people's rules use, mapped to fields of the record.

Names are those of SigmaHQ's taxonomy (proxy, webserver, dns, firewall, network) and of the rules themselves. What a
record never holds is listed too, so that lint can say which field a rule lacks rather than that it is misspelt.
"""

import difflib
from dataclasses import dataclass, field

from telemetry.interception.fields import FIELDS, FLOW_PLACES, Field, Place, values_field
from telemetry.interception.networks import Networks
from telemetry.record import Record

_CLIENT = {"src_ip": "client_ip", "c-ip": "client_ip", "src_port": "client_port", "c-port": "client_port"}
_SERVER = {"dst_ip": "address", "r-ip": "address", "s-ip": "address", "dst_port": "port", "r-port": "port"}
_HTTP = {
    "cs-host": "host", "cs(host)": "host", "r-dns": "host", "s-dns": "host",
    "c-uri": "uri", "cs-uri": "uri", "cs-uri-stem": "path", "c-uri-stem": "path", "c-uri-path": "path",
    "c-uri-extension": "extension", "cs-uri-extension": "extension",
    "cs-uri-scheme": "scheme", "cs-uri-port": "port", "s-port": "port",
    "cs-method": "method", "c-useragent": "user_agent", "cs-user-agent": "user_agent", "cs(user-agent)": "user_agent",
    "sc-status": "status", "cs-bytes": "bytes_out", "sc-bytes": "bytes_in",
    "cs-username": "user", "time-taken": "duration_ms", "sc-filter-result": "action",
}  # fmt: skip
_NO_HTTP = (
    "c-uri-query", "cs-uri-query", "cs-cookie", "cs(cookie)", "cs-referer", "cs-referrer", "cs(referer)", "c-referer",
    "cs-version", "sc-substatus", "sc-win32-status", "cs-content-type", "cs(content-type)", "rs(content-type)",
    "cs-body", "c-uri-fragment", "cs-auth-group", "sc-content-type",
)  # fmt: skip

ALIASES: dict[str, dict[str, str]] = {
    "proxy": _CLIENT | _SERVER | _HTTP,
    "webserver": _CLIENT | _SERVER | _HTTP,
    # The gateway resolves names itself: the name a client asked for, and the address that was dialled.
    "dns": _CLIENT | {
        "query": "host", "queryname": "host", "dns.question.name": "host", "question_name": "host", "r-dns": "host",
        "answer": "address", "answers": "address", "queryresults": "address", "dst_ip": "address",
    },
    "firewall": _CLIENT | _SERVER | {
        "action": "action", "blocked": "blocked", "username": "user", "dst_host": "host", "src_bytes": "bytes_out",
        "dst_bytes": "bytes_in", "bytes_sent": "bytes_out", "bytes_received": "bytes_in",
    },
    "network": _CLIENT | _SERVER | {
        "destinationhostname": "host", "destinationip": "address", "destinationport": "port", "sourceip": "client_ip",
        "sourceport": "client_port", "dst_host": "host", "server_name": "sni", "tls.client.ja4": "ja4",
        "bytes_out": "bytes_out", "bytes_in": "bytes_in", "src_bytes": "bytes_out", "dst_bytes": "bytes_in",
    },
}  # fmt: skip
# Names of fields that exist elsewhere and are never in a record here.
UNRECORDED: dict[str, frozenset[str]] = {
    "proxy": frozenset(_NO_HTTP),
    "webserver": frozenset(_NO_HTTP),
    "dns": frozenset(
        ("record_type", "qtype", "qtype_name", "querytype", "rcode", "response_code", "parent_domain", "querystatus")
    ),
    "firewall": frozenset(("protocol", "proto", "rule_name", "src_zone", "dst_zone", "application", "app")),
    "network": frozenset(
        (
            "image",
            "initiated",
            "protocol",
            "proto",
            "processid",
            "user",
            "computername",
            "sourcehostname",
            "commandline",
        )
    ),
}
CATEGORIES = tuple(ALIASES)
_PLACES: dict[str, frozenset[Place]] = {
    "proxy": FLOW_PLACES,
    "webserver": frozenset((Place.HTTP, Place.INSPECTED)),
    "dns": FLOW_PLACES,
    "firewall": FLOW_PLACES,
    "network": FLOW_PLACES,
}
_SYNONYMS = {"network_connection": "network", "network_traffic": "network", "dns_query": "dns"}


@dataclass(frozen=True, slots=True)
class Source:
    """A rule's log source. places: empty with the reason why it never fires here; networks: the operator's, if any."""

    category: str
    places: frozenset[Place]
    why: str = ""
    networks: Networks | None = field(default=None, compare=False, repr=False)


NETWORK_FIELDS = ("dst_asn", "dst_country")


class UnknownFieldError(Exception):
    """A field that no record and no taxonomy knows. near: names it may have meant."""

    def __init__(self, name: str, near: list[str]) -> None:
        super().__init__(name)
        self.name, self.near = name, near


def source_of(category: str | None, product: str | None, service: str | None) -> Source:
    """Which records a log source means. `product: feiyu, service: node` are records of no flow."""
    category = _SYNONYMS.get(category or "", category or "")
    if product == "feiyu" and service == "node" and not category:
        return Source("", frozenset((Place.NODE,)))
    if category and category not in ALIASES:
        expected = ", ".join(CATEGORIES)
        return Source("", frozenset(), f"log source category {category} is not this gateway's (those are {expected})")
    if product and product != "feiyu":
        return Source(category, frozenset(), f"log source product {product} is not this gateway")
    if service and (service, product) != ("flow", "feiyu"):
        return Source(category, frozenset(), f"log source service {service} is not this gateway's")
    if not category and product != "feiyu":
        return Source("", frozenset(), "the log source names no category of this gateway")
    return Source(category, _PLACES.get(category, FLOW_PLACES))


def field_of(name: str, source: Source) -> Field | None:
    """The field behind a name; None for one that is never recorded. Raises UnknownFieldError."""
    folded = name.casefold()
    # Without a category that is ours, any taxonomy's names are understood: the rule is only told where it cannot fire.
    categories = (source.category,) if source.category else CATEGORIES
    for category in categories:
        if alias := ALIASES[category].get(folded):
            return FIELDS[alias]
    if found := FIELDS.get(folded):
        return found
    if folded in NETWORK_FIELDS:
        return _network_field(folded, source.networks) if source.networks else None
    if folded.startswith("values.") and Place.NODE in source.places:
        return values_field(folded.removeprefix("values."))
    if any(folded in UNRECORDED[category] for category in categories) or not source.places:
        return None
    known = [*FIELDS, *NETWORK_FIELDS, *(alias for category in categories for alias in ALIASES[category])]
    raise UnknownFieldError(name, difflib.get_close_matches(folded, known, n=2))


def _network_field(name: str, networks: Networks) -> Field:
    number, find = NETWORK_FIELDS.index(name), networks.find

    def get(record: Record) -> str | None:
        found = find(record.address) if record.address else None
        return found[number] if found else None

    return Field(name, get)
