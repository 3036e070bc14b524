"""What a refused client is told, by every reason, and that nothing foreign gets into a header."""

import json
from typing import Any

import pytest

from gateway.refusal import build
from whitelist.reason import WORDING, Reason

REF = "7F3K9Q2M4XW5T000"
SAME: dict[str, Any] = {
    "ref": REF,
    "node": "gw1.zone.example",
    "portal": "https://portal.zone.example",
    "revision": 412,
}


def parts(response: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    line, *fields = head.decode("ascii").split("\r\n")
    pairs = [field.split(": ", 1) for field in fields]
    assert len({name for name, _ in pairs}) == len(pairs)
    return line, dict(pairs), body


def test_a_refused_connect_word_for_word() -> None:
    line, fields, body = parts(build(Reason.NOT_WHITELISTED, **SAME))
    assert line == f"HTTP/1.1 403 Not whitelisted (ref {REF})"
    assert fields == {
        "Proxy-Status": f'gw1.zone.example; error=http_request_denied; details="not-whitelisted ref={REF}"',
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Link": f'<https://portal.zone.example/r/{REF}>; rel="help"',
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    assert json.loads(body) == {
        "type": "https://portal.zone.example/reasons/not-whitelisted",
        "title": "Not whitelisted",
        "status": 403,
        "detail": "This service is not on your firm's whitelist.",
        "reason": "not-whitelisted",
        "policy_revision": 412,
        "instance": f"https://portal.zone.example/r/{REF}",
        "i18n": {
            "zh-CN": {
                "title": "不在白名单内",
                "detail": "该服务不在贵公司的白名单内。",
                "remedy": "请向园区运营方申请授权，并提供本编号。",
            },
            "en": {
                "title": "Not whitelisted",
                "detail": "This service is not on your firm's whitelist.",
                "remedy": "Ask your zone operator for a grant, quoting the reference.",
            },
        },
    }


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_itself(reason: Reason) -> None:
    line, fields, body = parts(build(reason, **SAME))
    words = WORDING[reason]
    assert line == f"HTTP/1.1 {words.status} {words.title} (ref {REF})"
    assert fields["Proxy-Status"].endswith(f'error={words.proxy_error}; details="{reason.value} ref={REF}"')
    assert fields["Content-Length"] == str(len(body))
    problem = json.loads(body)
    assert (problem["reason"], problem["status"]) == (reason.value, words.status)
    assert problem["i18n"]["zh-CN"]["remedy"] == words.remedy_zh
    assert fields.get("Proxy-Authenticate") == ('Basic realm="feiyu"' if words.status == 407 else None)


@pytest.mark.parametrize(
    ("reason", "helps", "helps_zh", "not_this"),
    [
        pytest.param(Reason.QUOTA_EXHAUSTED, "next day or month", "次日或次月", "for a grant", id="a used-up quota"),
        pytest.param(
            Reason.LINE_UNAVAILABLE, "contract is over", "合同已到期", "a few seconds", id="a line that is out"
        ),
    ],
)
def test_a_remedy_is_true_of_each_cause(reason: Reason, helps: str, helps_zh: str, not_this: str) -> None:
    words = WORDING[reason]
    assert helps in words.remedy_en
    assert helps_zh in words.remedy_zh
    assert not_this not in words.remedy_en


def test_a_status_of_its_own() -> None:
    line, _, body = parts(build(Reason.MALFORMED_REQUEST, status=431, **SAME))
    assert line == f"HTTP/1.1 431 Request head too large (ref {REF})"
    assert json.loads(body)["status"] == 431


def test_the_detail_stands_in_the_body_only() -> None:
    detail = 'a "quoted" \r\nX-Evil: 1'
    head, _, body = build(Reason.MALFORMED_REQUEST, detail=detail, **SAME).partition(b"\r\n\r\n")
    assert b"Evil" not in head
    assert json.loads(body)["cause"] == detail


def test_head_gets_the_length_but_no_body() -> None:
    _, fields, body = parts(build(Reason.NOT_WHITELISTED, method="HEAD", **SAME))
    assert body == b""
    assert fields["Content-Length"] == parts(build(Reason.NOT_WHITELISTED, method="GET", **SAME))[1]["Content-Length"]


@pytest.mark.parametrize(
    ("keep_alive", "http_version", "expected"),
    [(False, "1.1", "close"), (True, "1.1", "keep-alive"), (True, "1.0", "close")],
)
def test_the_connection_is_kept_only_when_both_can(keep_alive: bool, http_version: str, expected: str) -> None:
    response = build(Reason.NOT_WHITELISTED, keep_alive=keep_alive, http_version=http_version, **SAME)
    assert parts(response)[1]["Connection"] == expected


@pytest.mark.parametrize("reason", list(Reason))
def test_the_page_is_bilingual_and_whole(reason: Reason) -> None:
    _, fields, body = parts(build(reason, html=True, method="GET", host="a.example", **SAME))
    page, words = body.decode(), WORDING[reason]
    assert fields["Content-Type"] == "text/html; charset=utf-8"
    assert fields["Content-Length"] == str(len(body))
    assert fields["Content-Security-Policy"].startswith("default-src 'none'")
    for text in (words.zh, words.title_zh, words.title, words.remedy_zh, REF, reason.value, "a.example"):
        assert text in page
    assert "$" not in page
    assert "<script" not in page


@pytest.mark.parametrize("reason", list(Reason))
def test_the_text_is_bilingual_and_has_the_reference(reason: Reason) -> None:
    _, fields, body = parts(build(reason, text=True, method="GET", detail="Evil", **SAME))
    lines, words = body.decode().splitlines(), WORDING[reason]
    assert fields["Content-Type"] == "text/plain; charset=utf-8"
    assert lines[0] == f"{words.title} · {words.title_zh}"
    assert lines[1:-1] == [words.en, words.zh, words.remedy_en, words.remedy_zh]
    assert lines[-1] == f"{REF} · {SAME['portal']}/r/{REF}"


def test_the_page_escapes_what_it_is_given() -> None:
    page = build(Reason.NAME_INVALID, html=True, method="GET", host="<b>&\"'", detail="<script>x</script>", **SAME)
    assert b"&lt;b&gt;&amp;&quot;&#x27;" in page
    assert b"<script" not in page
    assert b"<b>" not in page


def test_a_node_name_that_is_no_token_is_quoted() -> None:
    response = build(Reason.NOT_WHITELISTED, **(SAME | {"node": "1.gw"}))
    assert parts(response)[1]["Proxy-Status"].startswith('"1.gw"; error=')


@pytest.mark.parametrize(
    "bad",
    [
        {"ref": "7F3\r\nX: y"}, {"ref": ""}, {"ref": "7f3k"}, {"ref": "A\n"},
        {"node": 'gw"'}, {"node": "gw\r\nX: y"}, {"node": "gw\n"}, {"node": "网关"},
        {"portal": "https://p>; rel=x"}, {"portal": "javascript:alert(1)"}, {"portal": "https://p\r\nX: y"},
    ],
)  # fmt: skip
def test_nothing_breaks_out_of_a_header(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be|reference"):
        build(Reason.NOT_WHITELISTED, **(SAME | bad))
