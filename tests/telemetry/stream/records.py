"""Records as workers write them, ordinary and hostile."""

from typing import Any

from telemetry.record import Record, encode

NODE = "gw1.zone.example"
FLOW = {
    "flow": "7F3K9Q2M4XW5TABC",
    "tenant": "acme",
    "site": "lingang-a",
    "room": "r1",
    "interface": "acc0",
    "user": "u-3k2",
    "credential": "c-abc",
    "client_ip": "10.0.0.10",
    "client_port": 40_000,
    "listener": "plain",
    "host": "arxiv.org",
    "port": 443,
    "service": "arxiv",
    "grant": "g-1",
    "revision": 412,
    "line": "hk1",
}
WENT = {"address": "192.0.2.80", "egress_ip": "192.0.2.2", "egress_port": 50_000, "decision": "permit"}
TLS = {"sni": "arxiv.org", "alpn": "h2", "ja4": "t13d1516h2_8daaf6152771_b0da82dd1658", "tls_version": "1.3"}


def record(kind: str, seq: int = 1, **fields: Any) -> Record:
    fields.setdefault("time", 1_790_000_000_123_456 + seq)
    return Record(node=NODE, boot="0000abcd", worker="w0.1", seq=seq, kind=kind, **fields)


def line(kind: str, seq: int = 1, **fields: Any) -> bytes:
    return encode(record(kind, seq, **fields))


ORDINARY = {
    "a tunnel opens": record("open", **FLOW, **WENT, method="CONNECT"),
    "a tunnel moves bytes": record("progress", **FLOW, **WENT, **TLS, bytes_out=10, bytes_in=20, bytes_as_of=5),
    "a tunnel ends": record("close", **FLOW, **WENT, **TLS, cause="client-closed", duration=5_000_000, bytes_in=9),
    "a tunnel is cut": record("close", **FLOW, **WENT, cause="cut-by-operator", duration=1),
    "a tunnel is reset": record("close", **FLOW, **WENT, cause="reset", duration=1, bytes_out=3, rtt=9, retransmits=1),
    "a name that is not the permitted one": record("close", **FLOW, **WENT, cause="refused", reason="name-mismatch"),
    "a request over plain HTTP": record(
        "close", **FLOW, **WENT, method="GET", path="/abs/1", user_agent="curl/8", status=200, cause="completed"
    ),
    "an odd method": record("deny", **FLOW, method="BREW", path="/pot", status=403, reason="method-not-allowed"),
    "a refusal": record("deny", **FLOW, method="CONNECT", status=403, reason="not-whitelisted", ref="7F3K9Q2M4XW5TABC"),
    "strangers, counted": record("deny", reason="identity-unknown", client_ip="10.9.9.9", count=250, status=407),
    "a refusal that knows nothing of the client": record("deny", reason="overloaded", status=503),
    "an address instead of a name": record("deny", **{**FLOW, "host": "2001:db8::1"}, reason="address-forbidden"),
    "an address and plain HTTP": record("deny", **{**FLOW, "host": "2001:db8::1"}, method="GET", path="/"),
    "a line goes down": record("line", line="hk1", detail="down: no carrier", values={"state": 0}),
    "an act of an administrator": record("action", detail="add grants/g-1 by root", revision=413),
    "an authority reads": record(
        "read",
        tenant="acme",
        ref="7F3K9Q2M4XW5TABC",
        count=3,
        detail="read by 1001",
        facts={"case": "1", "basis": "law"},
    ),
    "a heartbeat": record("heartbeat", values={"connections": 7}),
    "a firm asks the portal": record("portal", **FLOW, status=200),
    "a rule found something in a flow": record("action", **FLOW, rule="feiyu-beacon", detail="12 equal intervals"),
    "a rule found something in sums": record("action", tenant="acme", rule="feiyu-resale", values={"users": 40}),
    "a rule acted": record("action", **FLOW, rule="feiyu-exfil", decision="deny", detail="blocked for 1h"),
}

LONG = "a." * 32_000 + "example"  # 64 kB
CONTROL = "".join(map(chr, range(32))) + "\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff"
HOSTILE = {
    "a name of 64 kB": record("deny", tenant="acme", host=LONG, client_ip="10.0.0.1", reason="name-invalid"),
    "control characters everywhere": record(
        "deny", **{**FLOW, "host": CONTROL, "user": CONTROL, "tenant": CONTROL}, user_agent=CONTROL, detail=CONTROL
    ),
    "what looks like frames": record("deny", host='"]\n99 <13>1 - - -', user_agent="10 <0>1 x\r\n\r\ndata: x\n\n"),
    "quotes and backslashes": record("deny", host='\\"]\\u0000', tenant="[x]", detail="\\\\"),
    "letters of all planes": record("deny", host="飞鱼.example", user_agent="😀", detail="é"),
}
EVERY = {**ORDINARY, **HOSTILE}
