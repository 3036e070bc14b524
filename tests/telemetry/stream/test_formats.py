"""Formats: OCSF against its own schema, ECS against its field types, and what hostile records become."""

import ipaddress
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from telemetry.record import Record, decode, encode
from telemetry.stream.event import Event, gap, plain
from telemetry.stream.spec import FORMATS, stream_kind
from tests.telemetry.stream.records import EVERY, HOSTILE, NODE, ORDINARY, record

CLASSES = {0: "base_event", 4001: "network_activity", 4002: "http_activity", 2004: "detection_finding"}


def event_of(given: Record, index: int = 7) -> Event:
    return Event(index, encode(given), given, stream_kind(given))


@cache
def validator(number: int) -> Draft202012Validator:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    return Draft202012Validator(schema.get_class_schema(class_name=CLASSES[number], profiles=["security_control"]))


@pytest.mark.parametrize("sentence", EVERY)
def test_every_record_is_a_valid_ocsf_event(sentence: str) -> None:
    body = json.loads(event_of(EVERY[sentence]).body("ocsf"))
    faults = [
        f"{'/'.join(map(str, e.path))}: {e.message[:200]}" for e in validator(body["class_uid"]).iter_errors(body)
    ]
    assert faults == []
    assert body["type_uid"] == body["class_uid"] * 100 + body["activity_id"]


def test_the_schema_refuses_what_is_not_an_event() -> None:
    body = json.loads(event_of(ORDINARY["a tunnel opens"]).body("ocsf"))
    assert list(validator(4001).iter_errors({**body, "tenant": "acme"})), "an unknown attribute"
    assert list(validator(4001).iter_errors({**body, "activity_id": 77})), "a number outside of the enumeration"
    assert list(validator(4001).iter_errors({k: v for k, v in body.items() if k != "metadata"}))


WANTED: dict[str, tuple[int, int, int, int]] = {  # class, activity, disposition (0: none), severity
    "a tunnel opens": (4001, 1, 1, 1),
    "a tunnel moves bytes": (4001, 6, 1, 1),
    "a tunnel ends": (4001, 2, 1, 1),
    "a tunnel is cut": (4001, 2, 6, 2),
    "a tunnel is reset": (4001, 3, 1, 1),
    "a name that is not the permitted one": (4001, 2, 2, 2),
    "a request over plain HTTP": (4002, 3, 1, 1),
    "an odd method": (4002, 99, 2, 2),
    "a refusal": (4001, 5, 2, 2),
    "strangers, counted": (4001, 5, 2, 2),
    "a line goes down": (0, 99, 0, 1),
    "a rule found something in a flow": (2004, 1, 19, 4),
    "a rule found something in sums": (2004, 1, 19, 4),
    "a rule acted": (2004, 1, 2, 4),
}


@pytest.mark.parametrize("sentence", WANTED)
def test_what_happened_has_its_ocsf_class(sentence: str) -> None:
    body = json.loads(event_of(ORDINARY[sentence]).body("ocsf"))
    found = (body["class_uid"], body["activity_id"], body.get("disposition_id", 0), body["severity_id"])
    assert found == WANTED[sentence]


def test_an_ocsf_flow_says_who_where_how_much_and_under_which_grant() -> None:
    body = json.loads(event_of(ORDINARY["a tunnel ends"]).body("ocsf"))
    assert body["src_endpoint"]["ip"] == "10.0.0.10"
    assert body["src_endpoint"]["owner"] == {"uid": "u-3k2", "credential_uid": "c-abc", "org": {"uid": "acme"}}
    assert (body["dst_endpoint"]["hostname"], body["dst_endpoint"]["ip"]) == ("arxiv.org", "192.0.2.80")
    assert body["dst_endpoint"]["proxy_endpoint"]["interface_uid"] == "hk1"
    assert body["traffic"] == {"bytes_out": 0, "bytes_in": 9, "bytes": 9}
    assert (body["firewall_rule"]["uid"], body["firewall_rule"]["version"]) == ("g-1", "412")
    assert (body["end_time"] - body["start_time"], body["duration"]) == (5000, 5000)
    assert body["metadata"]["uid"] == f"{NODE}/0000abcd.w0.1.1@7"
    assert body["metadata"]["correlation_uid"] == "7F3K9Q2M4XW5TABC"
    assert body["status_code"] == "client-closed"


def test_a_long_name_is_cut_in_ocsf_and_said_to_be() -> None:
    body = json.loads(event_of(HOSTILE["a name of 64 kB"]).body("ocsf"))
    assert body["metadata"]["is_truncated"] is True
    assert len(body["dst_endpoint"]["hostname"]) == 2048
    assert "is_truncated" not in json.loads(event_of(ORDINARY["a refusal"]).body("ocsf"))["metadata"]


# The field reference of ECS 8.17: type of each field that is used; what is not here must stand under feiyu.
ECS: dict[str, Callable[[Any], bool]] = {
    "@timestamp": lambda v: v.endswith("Z") and len(v) == 27,
    "message": lambda v: isinstance(v, str),
    "ecs.version": lambda v: v == "8.17.0",
    "event.id": lambda v: isinstance(v, str),
    "event.kind": lambda v: v in ("alert", "event", "state"),
    "event.category": lambda v: set(v) <= {"network", "host", "intrusion_detection"},
    "event.type": lambda v: set(v) <= {"connection", "start", "end", "info", "allowed", "denied"},
    "event.action": lambda v: isinstance(v, str),
    "event.outcome": lambda v: v in ("success", "failure", "unknown"),
    "event.reason": lambda v: isinstance(v, str),
    "event.sequence": lambda v: isinstance(v, int),
    "event.duration": lambda v: isinstance(v, int),
    "event.module": lambda v: v == "feiyu",
    "event.dataset": lambda v: v == "feiyu.flows",
    **dict.fromkeys(
        (
            *("observer.hostname", "observer.type", "observer.product", "observer.serial_number", "organization.id"),
            *("user.id", "destination.domain", "network.transport", "network.direction", "http.request.method"),
            *("url.domain", "url.path", "user_agent.original", "tls.version", "tls.next_protocol", "rule.id"),
            "tls.client.server_name",
        ),
        lambda v: isinstance(v, str),
    ),
    **dict.fromkeys(("source.ip", "destination.ip"), lambda v: bool(ipaddress.ip_address(v))),
    **dict.fromkeys(("source.port", "destination.port"), lambda v: 0 < v < 65_536),
    **dict.fromkeys(
        ("source.bytes", "destination.bytes", "network.bytes", "http.response.status_code"), lambda v: v > 0
    ),
}


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and prefix != "feiyu.":
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


@pytest.mark.parametrize("sentence", EVERY)
def test_every_record_has_only_ecs_fields_of_their_types(sentence: str) -> None:
    fields = flat(json.loads(event_of(EVERY[sentence]).body("ecs")))
    own = {name for name in fields if name.startswith("feiyu.")}
    assert fields.keys() - own - ECS.keys() == set()
    assert [name for name, good in ECS.items() if name in fields and not good(fields[name])] == []
    assert {"@timestamp", "ecs.version", "event.id", "event.kind", "event.category"} <= fields.keys()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("sentence", EVERY)
def test_no_body_holds_what_breaks_a_line_or_acts_on_a_terminal(sentence: str, form: str) -> None:
    text = event_of(EVERY[sentence]).body(form).decode()
    assert not [character for character in text if not (character.isprintable() or character == " ")]
    json.loads(text)


@pytest.mark.parametrize("sentence", EVERY)
def test_native_is_the_same_record_and_the_same_bytes_where_nothing_acts(sentence: str) -> None:
    given = EVERY[sentence]
    body = event_of(given).body("native")
    assert decode(body) == given
    if sentence in ORDINARY:
        assert body == encode(given)


def test_ids_differ_between_any_two_records_of_a_log_even_with_a_repeated_sequence_number() -> None:
    twice = [event_of(record("open", 5), 10).id, event_of(record("open", 5), 11).id, event_of(record("open", 6), 10).id]
    assert len(set(twice)) == 3


def test_a_gap_is_a_record_that_says_how_much_is_missing() -> None:
    told = gap(NODE, 40, 30, 0, 1_790_000_000_000_000)
    assert (told.kind, decode(told.line).values) == ("gap", {"missing": 30, "shrunk": 0, "next": 40})
    body = json.loads(told.body("ocsf"))
    assert (body["class_uid"], body["activity_name"], body["message"][:10]) == (0, "gap", "30 records")
    assert list(validator(0).iter_errors(body)) == []


def test_escaping_leaves_every_character_but_those_that_act() -> None:
    every = "".join(map(chr, range(0x20, 0x2200))) + "\ufeff\U0001f600"
    text = json.dumps(every, ensure_ascii=False).encode()
    assert json.loads(plain(text)) == every
    kept = plain("é – 飞鱼 “x” 😀".encode()).decode()
    assert kept == "é – 飞鱼 “x” 😀"
