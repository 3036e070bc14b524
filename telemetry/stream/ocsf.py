"""A record as an event of the Open Cybersecurity Schema Framework, version 1.8.0. Pure.

Flows are Network Activity (4001), those of plain HTTP are HTTP Activity (4002), what a rule found is a Detection
Finding (2004); what is told of the node itself is a Base Event (0). Source: schema.ocsf.io/1.8.0, each with the profile
security_control.
"""

from typing import Any

from telemetry.record import CloseCause, Kind, Record
from telemetry.stream.spec import FINDING

VERSION = "1.8.0"
LONGEST = 2048  # characters of a text; what is cut is marked so
_PROFILES = ["security_control"]
_PRODUCT = {"name": "Feiyu", "vendor_name": "Feiyu"}

# kind: activity of 4001 (1 Open, 2 Close, 3 Reset, 4 Fail, 5 Refuse, 6 Traffic) and its name
_ACTIVITIES = {
    Kind.OPEN.value: (1, "Open"),
    Kind.PROGRESS.value: (6, "Traffic"),
    Kind.CLOSE.value: (2, "Close"),
    Kind.DENY.value: (5, "Refuse"),
}
_METHODS = {
    "CONNECT": 1,
    "DELETE": 2,
    "GET": 3,
    "HEAD": 4,
    "OPTIONS": 5,
    "POST": 6,
    "PUT": 7,
    "TRACE": 8,
    "PATCH": 9,
}  # activities of 4002
_CUT = frozenset(
    {CloseCause.CUT_BY_KILL.value, CloseCause.CUT_BY_OPERATOR.value, CloseCause.CUT_BY_POLICY.value, "cut-by-rule"}
)
_FAILED = frozenset({CloseCause.LINE_DOWN.value, CloseCause.INTERNAL_ERROR.value, CloseCause.WORKER_DIED.value})


def event(record: Record, kind: str, id_: str) -> dict[str, Any]:
    """The event as JSON types. kind: of spec.stream_kind."""
    if kind == FINDING:
        found = _finding(record, id_)
    elif record.kind not in _ACTIVITIES:
        found = _base(record)
    elif record.method and record.method != "CONNECT" and record.kind != Kind.PROGRESS.value:
        found = _http(record)
    else:
        found = _network(record)
    clipped: dict[str, Any] = _clip(found)
    metadata: dict[str, Any] = {
        "version": VERSION,
        "product": _PRODUCT,
        "uid": id_,
        "profiles": _PROFILES,
        "log_name": "flows",
        "log_version": "1",
        "event_code": record.kind,
        "sequence": record.seq,
        "reporter": {"name": record.node, "uid": record.worker},
    }
    if clipped is not found:
        metadata["is_truncated"] = True
    if record.flow:
        metadata["correlation_uid"] = record.flow
    if record.tenant:
        metadata["tenant_uid"] = record.tenant
    clipped["metadata"] = metadata
    clipped["time"] = record.time // 1000
    clipped["type_uid"] = clipped["class_uid"] * 100 + clipped["activity_id"]
    return clipped


def _network(record: Record) -> dict[str, Any]:
    activity, name = _ACTIVITIES[record.kind]
    if record.kind == Kind.CLOSE.value and record.cause == CloseCause.RESET.value:
        activity, name = 3, "Reset"
    return {
        **_common(record),
        **_class(4, "Network Activity", 4001, "Network Activity"),
        "activity_id": activity,
        "activity_name": name,
        "app_protocol_name": "https" if record.sni or record.tls_version else "",
    } | ({"url": url} if (url := _url(record)) else {})


def _http(record: Record) -> dict[str, Any]:
    activity = _METHODS.get(record.method, 99)
    request: dict[str, Any] = {"http_method": record.method} if activity != 99 else {}
    if url := _url(record):
        request["url"] = url
    if record.user_agent:
        request["user_agent"] = record.user_agent
    found = {
        **_common(record),
        **_class(4, "Network Activity", 4002, "HTTP Activity"),
        "activity_id": activity,
        "activity_name": record.method.capitalize() if activity != 99 else record.method,
        "app_protocol_name": "http",
        "http_request": request,
    }
    if record.status:
        found["http_response"] = {"code": record.status}
    return found


def _finding(record: Record, id_: str) -> dict[str, Any]:
    evidence: dict[str, Any] = {key: value for key, value in _endpoints(record).items() if value}
    if not evidence:
        evidence = {"data": {"detail": record.detail, **(record.values or {})}}
    rule = {"name": record.rule, "uid": record.rule}
    acted = bool(record.decision == "deny")
    return {
        **_class(2, "Findings", 2004, "Detection Finding"),
        "activity_id": 1,
        "activity_name": "Create",
        "severity_id": 4,
        "severity": "High",
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "action_id": 2 if acted else 3,
        "action": "Denied" if acted else "Observed",
        "disposition_id": 2 if acted else 19,
        "disposition": "Blocked" if acted else "Alert",
        "message": record.detail or record.rule,
        "finding_info": {
            "uid": id_,
            "title": record.rule,
            "desc": record.detail,
            "analytic": {**rule, "type_id": 1, "type": "Rule"},
        },
        "evidences": [evidence],
        "unmapped": _unmapped(record),
    }


def _base(record: Record) -> dict[str, Any]:
    return {
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "activity_id": 99,
        "activity_name": record.kind,
        "severity_id": 1,
        "severity": "Informational",
        "message": record.detail,
        "unmapped": _unmapped(record),
    }


def _class(category: int, category_name: str, number: int, name: str) -> dict[str, Any]:
    return {"category_uid": category, "category_name": category_name, "class_uid": number, "class_name": name}


def _common(record: Record) -> dict[str, Any]:
    """What 4001 and 4002 share."""
    denied = record.kind == Kind.DENY.value or record.cause == CloseCause.REFUSED.value
    cut = record.cause in _CUT
    disposition = (2, "Blocked") if denied else (6, "Dropped") if cut else (1, "Allowed")
    failed = denied or record.cause in _FAILED
    found: dict[str, Any] = {
        "severity_id": 2 if denied or cut else 1,
        "severity": "Low" if denied or cut else "Informational",
        "action_id": 2 if denied else 1,
        "action": "Denied" if denied else "Allowed",
        "disposition_id": disposition[0],
        "disposition": disposition[1],
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
        "connection_info": {
            "direction_id": 2,
            "direction": "Outbound",
            "protocol_num": 6,
            "protocol_name": "tcp",
            **({"uid": record.flow} if record.flow else {}),
        },
        **{key: value for key, value in _endpoints(record).items() if value},
        "unmapped": _unmapped(record),
    }
    if not {"src_endpoint", "dst_endpoint"} & found.keys():
        found["src_endpoint"] = {"svc_name": record.listener or record.node}
    if record.reason or record.cause:
        found["status_code"] = record.reason or record.cause
    if record.detail:
        found["status_detail"] = record.detail
    if record.bytes_out or record.bytes_in:
        traffic = {"bytes_out": record.bytes_out, "bytes_in": record.bytes_in}
        found["traffic"] = {**traffic, "bytes": record.bytes_out + record.bytes_in}
    if record.count > 1:
        found["count"] = record.count
    if record.duration:
        found["duration"] = record.duration // 1000
        found["start_time"] = (record.time - record.duration) // 1000
        found["end_time"] = record.time // 1000
    if record.tls_version or record.sni:
        tls = {"version": record.tls_version or "unknown", "sni": record.sni}
        found["tls"] = {key: value for key, value in tls.items() if value}
    if record.ja4:
        found["ja4_fingerprint_list"] = [{"type_id": 1, "type": "JA4", "value": record.ja4}]
    if rule := record.rule or record.grant:
        found["firewall_rule"] = {"uid": rule, "name": rule, "version": str(record.revision)}
    return found


def _endpoints(record: Record) -> dict[str, dict[str, Any]]:
    """Client and destination; the gateway between them with the address by which the line is left."""
    source = {
        "ip": record.client_ip,
        "port": record.client_port,
        "interface_name": record.interface,
        "zone": record.site,
    }
    owner = {"uid": record.user, "credential_uid": record.credential, "org": _organization(record)}
    kept = {key: value for key, value in owner.items() if value}
    if kept.keys() & {"uid"} and record.client_ip:
        source["owner"] = kept
    name = record.host if not _is_address(record.host) else ""
    target = {"hostname": name, "ip": record.address or (record.host if not name else ""), "port": record.port}
    target["svc_name"] = record.service
    proxy = {"name": record.node, "ip": record.egress_ip, "port": record.egress_port, "interface_uid": record.line}
    found = {}
    if record.client_ip:
        found["src_endpoint"] = {key: value for key, value in source.items() if value}
    if record.host or record.address:
        target["proxy_endpoint"] = {key: value for key, value in proxy.items() if value} if record.egress_ip else ""
        found["dst_endpoint"] = {key: value for key, value in target.items() if value}
    return found


def _organization(record: Record) -> dict[str, str] | None:
    return {"uid": record.tenant} if record.tenant else None


def _url(record: Record) -> dict[str, Any]:
    """A request's target; never with a query."""
    if not record.path or not record.host:
        return {}
    host = f"[{record.host}]" if ":" in record.host else record.host
    port = "" if record.port in (0, 80) else f":{record.port}"
    url = f"http://{host}{port}{record.path}"
    found = {"scheme": "http", "hostname": record.host, "port": record.port, "path": record.path, "url_string": url}
    return {key: value for key, value in found.items() if value}


_KEPT = ("room", "listener", "original_dst", "line", "service", "grant", "revision", "ref", "alpn", "reason", "cause")


def _unmapped(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name in _KEPT if (value := getattr(record, name))}
    found |= {
        name: value
        for name, value in (("ech", record.ech), ("values", record.values), ("facts", record.facts))
        if value
    }
    found |= {name: value for name, value in (("rtt_us", record.rtt), ("retransmits", record.retransmits)) if value}
    return found


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _clip(value: Any) -> Any:
    """The same, or a copy whose long texts are cut."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"
    if isinstance(value, dict):
        copy = {key: _clip(item) for key, item in value.items()}
        return copy if any(copy[key] is not item for key, item in value.items()) else value
    if isinstance(value, list):
        items = [_clip(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
