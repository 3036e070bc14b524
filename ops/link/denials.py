"""The firm's last refusals in plain words, from the JSON of its own page. Pure."""

from collections.abc import Mapping
from typing import Any

from ops.link.words import current, t


def rows(page: Mapping[str, Any], *, mine: str = "") -> list[dict[str, str]]:
    """Newest first, ready to be shown. mine: of this credential only; "" for all of the firm's."""
    found = []
    for one in page.get("refusals") or []:
        if not isinstance(one, dict) or (mine and one.get("credential") != mine):
            continue
        host, port = one.get("host", ""), one.get("port", "")
        given = one.get("text")
        text = given if isinstance(given, dict) else {}
        found.append(
            {
                "at": str(one.get("at", "")),
                "target": f"{host}:{port}" if host and port else str(host),
                "reason": str(one.get("reason", "")),
                "text": str(text.get(current()) or text.get("en") or one.get("reason", "")),
                "ref": str(one.get("ref", "")),
            }
        )
    return found


def told(page: Mapping[str, Any], found: list[dict[str, str]], portal: str) -> str:
    """For a person."""
    if page.get("refusals") is None:
        return t("The gateway cannot look its refusals up now; try again in a minute.")
    if not found:
        return t("Nothing was refused in the last 30 days.")
    blocks = [
        f"{one['at']}  {one['target'] or '–'}\n    {one['text']} ({one['reason']})\n"
        f"    {t('Reference')} {one['ref']}  http://{portal}/r/{one['ref']}"
        for one in found
    ]
    return "\n".join(_printable(block) for block in blocks)


def _printable(text: str) -> str:
    """Without what could move a terminal's cursor."""
    return "".join(c for c in text if c.isprintable() or c == "\n")
