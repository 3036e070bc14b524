"""One inspected tunnel as its inspector knows it: what the permit allows, what was used of it, what a client is told.

No bytes of a body, no query and no header value are kept here or leave from here, but for the media type and the name
of the client's software.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import http

from gateway import page
from gateway.inspection.usage import Usage
from gateway.inspection.wire import Ask, Begin, Done
from gateway.refusal import build
from telemetry.record import CloseCause
from whitelist.inspection import BARRED, Fault, Inner, Rule, judge
from whitelist.reason import WORDING, Reason
from whitelist.target import Target, host_header_matches

MISDIRECTED = 421  # RFC 9110 clause 15.5.20
TOLD_FOR = 86_400.0  # seconds until a user is told of inspection again
# What some services take for the method or the path instead of those that were judged.
_METHOD_FIELDS = ("x-http-method-override", "x-http-method", "x-method-override")
_PATH_FIELDS = ("x-original-url", "x-rewrite-url")
_HOP = ("proxy-authorization", "proxy-connection", "keep-alive", "proxy-authenticate")


@dataclass(slots=True)
class Looked:
    """What was found of an inner request. rule or fault; status: 0 for that of the reason."""

    inner: Inner
    rule: Rule | None
    fault: Fault | None
    status: int = 0


class Case:
    """begin: the permit. done: tells the worker how a request ended."""

    def __init__(self, begin: Begin, usage: Usage, told: dict[tuple[str, str], float], done: Callable[[Done], None]):
        self.begin = begin
        self.inspect = begin.inspect
        self.target = Target(begin.host, begin.port, is_ip=":" in begin.host or begin.host.replace(".", "").isdigit())
        self.usage = usage
        self.done = done
        self._told = told
        self._number = 0

    def next_number(self) -> int:
        """A number for an inner request."""
        self._number += 1
        return self._number

    def look(self, request: http.Request, *, empty: bool) -> Looked:
        """Judges a request by its head. empty: no body follows."""
        headers = request.headers
        # The library's own attributes are tidied up, to capitals for one.
        method = request.data.method.decode("latin-1")
        path = request.data.path.partition(b"?")[0].decode("latin-1")
        length = 0 if empty else _length(headers)
        inner = Inner(method, path, headers.get("content-type", ""), length, headers.get("upgrade", "").strip().lower())
        if fault := self._misnamed(request):
            return Looked(inner, None, fault, MISDIRECTED if fault[0] is Reason.NAME_MISMATCH else 0)
        if fault := _ambiguous(request):
            return Looked(inner, None, fault)
        if empty and headers.get("content-length", "0") != "0":
            return Looked(inner, None, (Reason.MALFORMED_REQUEST, "a length, and no body"))
        found = judge(self.inspect, inner)
        if not isinstance(found, Rule):
            return Looked(inner, None, found)
        if spent := self.usage.spent(self.begin.grant, self.inspect):
            return Looked(inner, None, (Reason.QUOTA_EXHAUSTED, spent))
        return Looked(inner, found, None)

    def _misnamed(self, request: http.Request) -> Fault | None:
        """Every name of a request must be the host of the tunnel: requests for others that a client puts into the same
        connection, since one certificate or address would do, are sent back."""
        names = [value for name, value in request.headers.fields if name.lower() == b"host"]
        if request.data.authority:
            names.append(request.data.authority)
        if not names:
            return Reason.MALFORMED_REQUEST, "no host"
        if not all(host_header_matches(self.target, "https", name) for name in names):
            return Reason.NAME_MISMATCH, "the request is for another host than the tunnel"
        if request.is_http2 and request.scheme != "https":
            return Reason.MALFORMED_REQUEST, "a scheme other than https"
        return None

    def ask(self, looked: Looked, number: int, user_agent: str) -> Ask:
        """What the worker is told of it before anything goes on."""
        inner = looked.inner
        reason, detail = looked.fault or ("", "")
        status = looked.status or (WORDING[Reason(reason)].status if reason else 0)
        rule = looked.rule.id if looked.rule is not None else ""
        return Ask(
            number, inner.method[:64], inner.path[:2048], rule, inner.content_type[:128], user_agent[:256], 0, reason,
            status, detail,
        )  # fmt: skip

    def page(self, fault: Fault, ref: str, status: int, request: http.Request | None) -> http.Response:
        """The refusal, in the form that the client takes."""
        return parsed(self.page_bytes(fault, ref, status, request))

    def page_bytes(self, fault: Fault, ref: str, status: int, request: http.Request | None) -> bytes:
        """The refusal as bytes of HTTP/1.1."""
        accept = request.headers.get("accept", "").lower() if request is not None else ""
        return build(
            fault[0],
            ref=ref,
            node=self.begin.node,
            portal=self.begin.portal,
            revision=self.begin.revision,
            method=request.method if request is not None else "GET",
            html="text/html" in accept,
            text=accept.startswith("text/plain"),
            detail=fault[1],
            status=status,
            host=self.begin.host,
        )

    def notice(self, request: http.Request) -> http.Response | None:
        """What a person at a browser is told the first time: that this service is inspected, and what is kept."""
        headers = request.headers
        if request.method != "GET" or headers.get("sec-fetch-dest") != "document":
            return None
        who, now = (self.begin.user, self.begin.grant), time.monotonic()
        if now - self._told.get(who, -TOLD_FOR) < TOLD_FOR:
            return None
        if len(self._told) > 100_000:
            self._told.clear()
        self._told[who] = now
        body = page.statement(
            status=200,
            title="This service is inspected",
            title_zh="该服务的内容受检查",
            text="Your firm has consented that the gateway decrypts what you exchange with this service and holds each "
            "request against the grant's rules. Kept are method, host, path without query, rule, status, sizes, "
            "content type and times; never contents, cookies or passwords.",
            text_zh="贵公司已书面同意：网关解密您与该服务之间的通信，并按授权规则核对每个请求。仅留存方法、主机、不含查询的路径、"
            "规则、状态、大小、内容类型和时间，不留存内容、Cookie 或口令。",
            remedy="Load the page again to go on.",
            remedy_zh="重新加载页面即可继续。",
            facts=[page.fact("目标 · Target", self.begin.host), page.fact("授权 · Grant", self.begin.grant)],
        )
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n" + page.HEADERS
        return parsed(b"%b\r\n%b" % (head.encode("ascii"), body))

    def finish(self, number: int, response: http.Response | None, sent: int, received: int, cause: CloseCause) -> None:
        """An allowed request has ended."""
        self.usage.add(self.begin.grant, sent, received)
        status = response.status_code if response is not None else 0
        kind = response.headers.get("content-type", "")[:128] if response is not None else ""
        self.done(Done(number, status, kind, sent, received, cause))


def parsed(raw: bytes) -> http.Response:
    """A whole response of our own from its bytes."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    _, status, reason = line.split(b" ", 2)
    pairs = [(name.strip(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
    if not any(name.lower() == b"content-length" for name, _ in pairs):
        pairs.append((b"Content-Length", b"%d" % len(body)))
    return http.Response(b"HTTP/1.1", int(status), reason, http.Headers(pairs), body, None, time.time(), time.time())


def clean(request: http.Request) -> None:
    """Takes out what concerns a proxy."""
    for name in _HOP:
        if name in request.headers:
            del request.headers[name]


def _length(headers: http.Headers) -> int | None:
    value = headers.get("content-length")
    return int(value) if value is not None and value.isascii() and value.isdecimal() else None


def _ambiguous(request: http.Request) -> Fault | None:
    """What another reader may take for another request."""
    if request.method in BARRED:
        return Reason.METHOD_NOT_ALLOWED, "a method that is not for passing on"
    for name, value in request.headers.fields:
        if b"\r" in value or b"\n" in value or b"\0" in value or b":" in name or not name.strip():
            return Reason.MALFORMED_REQUEST, "a field with a character that none may hold"
    if any(name in request.headers for name in _METHOD_FIELDS):
        return Reason.METHOD_NOT_ALLOWED, "a field that names another method than the request"
    if any(name in request.headers for name in _PATH_FIELDS):
        return Reason.PATH_NOT_ALLOWED, "a field that names another path than the request"
    return None
