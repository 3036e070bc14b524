"""Pages of the gateway's own for a person at a browser: one template, one style, all that is put in escaped."""

from collections.abc import Iterable
from functools import lru_cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

# No scripts, nothing from elsewhere, in no frame.
HEADERS: Final = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
)


def document(title: str, corner: str, body: str, more_style: str = "") -> str:
    """A document around a body that is HTML already. corner: a word at its upper right."""
    style = _read("page.css") + more_style
    return _template().substitute(title=escape(title), corner=escape(corner), style=style, body=body)


def statement(
    *,
    status: int,
    title: str,
    title_zh: str,
    text: str,
    text_zh: str,
    remedy: str,
    remedy_zh: str,
    facts: Iterable[str],
) -> bytes:
    """What is the matter and what to do about it, in both languages. facts: rows, of fact()."""
    body = [
        *_section("zh-CN", "h1", title_zh, text_zh, remedy_zh),
        *_section("en", "h2", title, text, remedy),
        "<dl>",
        *facts,
        "</dl>",
    ]
    return document(f"{title_zh} · {title}", str(status), "\n".join(body)).encode()


def fact(label: str, value: str, *, is_ref: bool = False, is_link: bool = False) -> str:
    """One row; an empty value is shown as a dash."""
    shown = escape(value or "–")
    if is_link:
        shown = f'<a rel="help" href="{shown}">{shown}</a>'
    return f"<dt>{escape(label)}</dt><dd{' class="ref"' if is_ref else ''}>{shown}</dd>"


def _section(lang: str, heading: str, title: str, text: str, remedy: str) -> list[str]:
    return [
        f'<section lang="{lang}">',
        f"<{heading}>{escape(title)}</{heading}>",
        f"<p>{escape(text)}</p>",
        f'<p class="remedy">{escape(remedy)}</p>',
        "</section>",
    ]


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template(_read("page.html"))


@lru_cache(maxsize=2)
def _read(name: str) -> str:
    return files("gateway").joinpath(name).read_text("utf-8")
