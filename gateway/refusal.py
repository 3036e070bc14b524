"""What a refused client is told: status line, Proxy-Status (RFC 9209) and problem details (RFC 9457), or a page.

Chrome drops the body of a refused CONNECT, and other clients show only the status line, so that line carries the
reference. Headers hold nothing but the gateway's own words: no bytes of the client, no contents of a policy.
"""

import json
import re
from functools import lru_cache
from typing import Final

from gateway import page
from whitelist.reason import WORDING, Reason

STATUS_TITLES: Final = {421: "Misdirected request", 431: "Request head too large"}
_CHALLENGE: Final = 'Proxy-Authenticate: Basic realm="feiyu"\r\n'
_SF_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")  # RFC 8941 clause 3.3.4
_PAGE_HEADERS = page.HEADERS.encode("ascii")
_PLAIN = re.compile(r"[ !#-\[\]-~]+")  # visible ASCII that needs no escape in a quoted string
_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+")
_REF = re.compile(r"[0-9A-Z]{1,64}")


@lru_cache(maxsize=512)
def _parts(reason: Reason, status: int, node: str, portal: str) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Everything that does not depend on the single refusal: the status line up to the reference; the rest of the
    header up to the reference in Proxy-Status; the challenge, if any; the JSON up to the revision; and the JSON behind
    instance."""
    words = WORDING[reason]
    if not _PLAIN.fullmatch(node) or not _URL.fullmatch(portal):
        raise ValueError("node must be visible ASCII and portal an http(s) URL")
    title = STATUS_TITLES.get(status, words.title)
    member = node if _SF_TOKEN.fullmatch(node) else f'"{node}"'
    line = f"HTTP/1.1 {status} {title} (ref "
    proxy_status = f')\r\nProxy-Status: {member}; error={words.proxy_error}; details="{reason.value} ref='
    challenge = _CHALLENGE if status == 407 else ""
    facts = {
        "type": f"{portal}/reasons/{reason.value}",
        "title": title,
        "status": status,
        "detail": words.en,
        "reason": reason.value,
    }
    texts = {
        "zh-CN": {"title": words.title_zh, "detail": words.zh, "remedy": words.remedy_zh},
        "en": {"title": title, "detail": words.en, "remedy": words.remedy_en},
    }
    before = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"policy_revision":'
    after = ',"i18n":' + json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    return (
        line.encode("ascii"),
        proxy_status.encode("ascii"),
        challenge.encode("ascii"),
        before.encode(),
        after.encode(),
    )


def build(
    reason: Reason,
    *,
    ref: str,
    node: str,
    portal: str,
    revision: int,
    method: str = "CONNECT",
    html: bool = False,
    text: bool = False,
    http_version: str = "1.1",
    detail: str = "",
    status: int = 0,
    keep_alive: bool = False,
    host: str = "",
    retry_after: int = 0,
) -> bytes:
    """The whole response.

    ref: Crockford base32, upper case; node and portal: from the configuration (portal without a slash at its end);
    html: a browser asked in plain HTTP; text: a program that shows plain text alone; detail: the gateway's own words on
    what was wrong (HandshakeError.detail), only ever in the body; status: where it is not the reason's own
    (431, 421); host: canonical target, only on the page.
    retry_after: seconds until it is free again, where that is known (RFC 9110 clause 10.2.3), 0 else.
    HEAD gets no body (RFC 9110 clause 9.3.2). An HTTP/1.0 client is always answered with Connection: close.
    Raises ValueError for a ref, node or portal that could break out of a header.
    """
    if not _REF.fullmatch(ref):
        raise ValueError("a reference is upper-case letters and digits")
    status = status or WORDING[reason].status
    line, proxy_status, challenge, before, after = _parts(reason, status, node, portal)
    mark = ref.encode("ascii")
    later = b"Retry-After: %d\r\n" % retry_after if retry_after > 0 else b""
    help_url = b"%b/r/%b" % (portal.encode("ascii"), mark)
    if html:
        kind, extra = b"text/html; charset=utf-8", _PAGE_HEADERS
        body = _page(reason, status, ref, node, help_url.decode("ascii"), detail, host)
    elif text:
        kind, extra = b"text/plain; charset=utf-8", b""
        body = _text(reason, status, ref, help_url.decode("ascii")).encode()
    else:
        kind, extra = b"application/problem+json", b""
        cause = b',"cause":' + json.dumps(detail).encode("ascii") if detail else b""
        free = b',"retry_after":%d' % retry_after if retry_after > 0 else b""
        body = b'%b%d,"instance":"%b"%b%b%b}' % (before, revision, help_url, cause, free, after)
    return (
        b'%b%b%b%b"\r\n%b%b%bContent-Type: %b\r\nContent-Length: %d\r\nLink: <%b>; rel="help"\r\n'
        b"Cache-Control: no-store\r\nConnection: %b\r\n\r\n%b"
    ) % (
        line,
        mark,
        proxy_status,
        mark,
        challenge,
        later,
        extra,
        kind,
        len(body),
        help_url,
        b"keep-alive" if keep_alive and http_version == "1.1" else b"close",
        b"" if method == "HEAD" else body,
    )


def _text(reason: Reason, status: int, ref: str, help_url: str) -> str:
    """The same for a person at a terminal, in lines."""
    words = WORDING[reason]
    title = STATUS_TITLES.get(status, words.title)
    lines = [f"{title} · {words.title_zh}", words.en, words.zh, words.remedy_en, words.remedy_zh]
    return "\n".join([*lines, f"{ref} · {help_url}", ""])


def _page(reason: Reason, status: int, ref: str, node: str, help_url: str, detail: str, host: str) -> bytes:
    """The page for a person at a browser."""
    words = WORDING[reason]
    return page.statement(
        status=status,
        title=STATUS_TITLES.get(status, words.title),
        title_zh=words.title_zh,
        text=words.en,
        text_zh=words.zh,
        remedy=words.remedy_en,
        remedy_zh=words.remedy_zh,
        facts=[
            page.fact("编号 · Reference", ref, is_ref=True),
            page.fact("目标 · Target", host),
            page.fact("原因 · Reason", reason.value),
            page.fact("说明 · Detail", detail),
            page.fact("网关 · Gateway", node),
            page.fact("帮助 · Help", help_url, is_link=True),
        ],
    )
