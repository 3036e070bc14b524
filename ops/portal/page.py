"""A firm's pages in HTML, in both languages: no scripts, nothing from elsewhere, everything put in escaped."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

from gateway.page import document
from ops.portal.notice import FIELDS
from ops.portal.words import moment
from whitelist.reason import WORDING, Reason

_WEEKDAYS = ("一 Mon", "二 Tue", "三 Wed", "四 Thu", "五 Fri", "六 Sat", "日 Sun")
Cell = tuple[str, ...]  # lines of text, one below the other


def firm_page(view: Mapping[str, Any], node: str) -> str:
    """The page behind http://PORTAL_NAME/."""
    you = view["you"]
    name = " · ".join(part for part in (you["name_zh"], you["name"]) if part)
    facts = [
        ("企业 · Firm", f"{name} ({you['tenant']})"),
        ("状态 · State", f"{_both(you['state_text'])} · {_until(you['valid_until'])}"),
        ("使用者 · User", you["user"] or "–"),
        ("凭证 · Credential", you["credential"] or "以位置识别 · identified by place"),
        ("来源 · Source", f"{you['source']} · {you['interface']}"),
        ("机房 · Room", f"{you['site']} / {you['room']}"),
        ("接入 · Way in", you["listener"]),
        ("PAC", view["pac"] or "–"),
    ]
    body = [
        f"<h1>{escape(name)}</h1>",
        _facts(facts),
        _heading("专线", "Lines"),
        _table(("专线 Line", "状态 State"), [((line["id"],), _two(line["text"])) for line in view["lines"]])
        or _nothing("没有为贵单位指定专线。", "No line is designated to your firm."),
        _heading("白名单", "Whitelist"),
        _table(
            ("服务 Service", "目标 Targets", "专线 Lines", "有效至 Until", "状态 State"), map(_grant, view["whitelist"])
        )
        or _nothing("白名单为空。", "The whitelist is empty."),
        _heading("最近的拒绝", "Last refusals"),
        _refusals(view["refusals"]),
        _heading("监管调阅", "Reads by authorities"),
        _reads(view["reads"]),
        _heading("记录告知", "What is recorded"),
        *(f'<p lang="{lang}">{escape(text)}</p>' for lang in ("zh", "en") for text in view["recording"]["text"][lang]),
        _table(
            ("字段 Field", "含义", "Meaning"),
            [((f["field"],), (f["zh"],), (f["en"],)) for f in view["recording"]["fields"]],
        ),
        f"<p><small>{escape(moment(view['time']))} · 策略版本 Revision {int(view['revision'])}</small></p>",
    ]
    return whole(f"{name} · 飞鱼 Feiyu", node, body)


def refusal_page(record: Mapping[str, Any], node: str) -> str:
    """The page behind /r/REF, for the firm that was refused."""
    reason = str(record.get("reason", ""))
    words = WORDING[Reason(reason)] if reason in Reason else None
    title_zh, title = (words.title_zh, words.title) if words else (reason, reason)
    body = [f"<h1>{escape(title_zh)} · <span lang=en>{escape(title)}</span></h1>"]
    if words:
        body += [f"<p>{escape(words.zh)} {escape(words.remedy_zh)}</p>"]
        body += [f"<p lang=en>{escape(words.en)} {escape(words.remedy_en)}</p>"]
    facts = [("时间 · Time", moment(int(record.get("time", 0)) / 1_000_000))]
    facts += [(" · ".join(FIELDS[name]), str(value)) for name, value in record.items() if name != "time"]
    return whole(f"{record.get('ref', '')} · 飞鱼 Feiyu", node, [*body, _facts(facts)])


def not_found_page(node: str) -> str:
    """Nothing of this firm's is there; whether of another's is not said."""
    words = _nothing(
        "此处没有贵单位的内容。请核对地址或编号。",
        "There is nothing of your firm's here. Check the address, or the reference.",
    )
    return whole("404 · 飞鱼 Feiyu", node, ["<h1>未找到 · <span lang=en>Not found</span></h1>", words])


def whole(title: str, node: str, body: Sequence[str]) -> str:
    """A document around parts that are HTML already."""
    return document(title, node, "\n".join(body), _style())


def _grant(grant: Mapping[str, Any]) -> tuple[Cell, ...]:
    services = tuple(
        " · ".join(dict.fromkeys(part for part in (s["name_zh"], s["name"]) if part)) for s in grant["services"]
    )
    targets = tuple(
        f"{e['target']} :{','.join(map(str, e['ports']))} {e['protocol']}"
        for s in grant["services"]
        for e in s["endpoints"]
    )
    hours = grant["hours"]
    when: Cell = ()
    if hours:
        days = " ".join(_WEEKDAYS[day] for day in hours["weekdays"])
        when = (f"{days} {hours['from']}–{hours['to']} UTC{hours['utc_offset_minutes'] / 60:+g}".strip(),)
    state = _two(grant["text"])
    return (*services, grant["grant"]), targets, tuple(grant["lines"]), (grant["until"], *when), state


def _refusals(refusals: Sequence[Mapping[str, Any]] | None) -> str:
    if refusals is None:
        return _nothing("暂时无法查询记录，请稍后重试。", "The records cannot be searched now. Try again in a minute.")
    rows = []
    for one in refusals:
        ref = str(one.get("ref", ""))
        link = f'<a href="{escape(one["link"])}">{escape(ref)}</a>'
        host = f"{one.get('host', '–')}:{one['port']}" if one.get("port") else str(one.get("host", "–"))
        reason = f"{escape(one['text']['zh'])}<br><span lang=en>{escape(one['text']['en'])}</span>"
        rows.append(
            f"<tr><td>{escape(one['at'])}</td><td>{escape(host)}</td>"
            f"<td>{reason}<br><small>{escape(str(one.get('reason', '')))}</small></td><td>{link}</td></tr>"
        )
    if not rows:
        return _nothing("三十天内没有拒绝。", "There was no refusal within thirty days.")
    return _rows(("时间 Time", "目标 Target", "原因 Reason", "编号 Reference"), rows)


def _reads(reads: Mapping[str, Any] | None) -> str:
    if reads is None:
        return _nothing("暂时无法查询记录，请稍后重试。", "The records cannot be searched now. Try again in a minute.")
    rows = [
        ((one["at"],), (one["authority"],), (one["basis"],), (one["case"],), (one["scope"],), (str(one["records"]),))
        for one in reads["items"]
    ]
    titles = ("时间 Time", "机关 Authority", "依据 Basis", "案号 Case", "范围 Scope", "条数 Records")
    shown = _table(titles, rows) or _nothing(
        "184 天内没有告知的调阅。", "No read within 184 days that you are told of."
    )
    hidden = int(reads["withheld"])
    words = (f"另有 {hidden} 次调阅依法不告知。", f"{hidden} more reads are lawfully withheld.")
    return shown + (_nothing(*words) if hidden else "")


def _table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    written = ["<tr>" + "".join(f"<td>{'<br>'.join(map(escape, cell))}</td>" for cell in row) + "</tr>" for row in rows]
    return _rows(titles, written) if written else ""


def _rows(titles: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th scope=col>{escape(title)}</th>" for title in titles)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts) + "</dl>"


def _heading(zh: str, en: str) -> str:
    return f"<h2>{escape(zh)} · <span lang=en>{escape(en)}</span></h2>"


def _nothing(zh: str, en: str) -> str:
    return f"<p>{escape(zh)}</p><p lang=en>{escape(en)}</p>"


def _both(words: Mapping[str, str]) -> str:
    return f"{words['zh']} · {words['en']}"


def _two(words: Mapping[str, str]) -> Cell:
    return words["zh"], words["en"]


def _until(second: int) -> str:
    return f"至 until {moment(second)}"


@lru_cache(maxsize=1)
def _style() -> str:
    return files("ops.portal").joinpath("page.css").read_text("utf-8")
