"""The head of an answer of the portal, and what it says itself while control is away."""

import json
from http import HTTPStatus
from typing import Final

from gateway import page

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
PAC: Final = "application/x-ns-proxy-autoconfig"
STATUSES: Final = frozenset({200, 404, 503})

_EN = (
    "Your firm's page cannot be shown now: the part of the gateway that knows it does not answer. "
    "Access abroad goes on."
)
_ZH = "暂时无法显示本单位页面：网关中负责该页面的部分没有应答。国际访问不受影响。"
_REMEDY_EN = "Try again in a minute. If it stays so, tell the zone's operator the reference."
_REMEDY_ZH = "请一分钟后重试；若仍如此，请将编号告知园区运营方。"
# Read by no other site either: not even as a script, which a PAC file is.
_GUARDS: Final = f"{page.HEADERS}Cross-Origin-Resource-Policy: same-origin\r\n"


def headed(status: int, content_type: str, body: bytes, *, head_only: bool) -> bytes | None:
    """The whole response, without its body for HEAD; None for a status or a content type that no page of ours has. The
    connection closes behind it."""
    if status not in STATUSES or content_type not in (HTML, JSON, PAC):
        return None
    phrase = HTTPStatus(status).phrase
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"{_GUARDS}Cache-Control: no-store\r\nVary: Accept\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if head_only else body)


def away_page(ref: str, *, html: bool) -> tuple[str, bytes]:
    """Content type and body of the 503 while control is away. ref: of the record, "" where there is none."""
    if html:
        return HTML, page.statement(
            status=503,
            title="Not available now",
            title_zh="暂时无法显示",
            text=_EN,
            text_zh=_ZH,
            remedy=_REMEDY_EN,
            remedy_zh=_REMEDY_ZH,
            facts=[page.fact("编号 · Reference", ref, is_ref=True)],
        )
    texts = {"zh-CN": {"detail": _ZH, "remedy": _REMEDY_ZH}, "en": {"detail": _EN, "remedy": _REMEDY_EN}}
    problem = {"title": "Portal not available", "status": 503, "detail": _EN, "ref": ref, "i18n": texts}
    return JSON, json.dumps(problem, ensure_ascii=False).encode()
