"""The language of a machine's owner: Chinese for the sentences of the link, which stand in the code in English."""

import os
from collections.abc import Mapping, Sequence

from ops.link.words_zh import ZH

_current = "en"


def use(language: str) -> None:
    """Sets the language of this process: "zh" or "en"."""
    global _current
    _current = language if language in ("zh", "en") else "en"


def current() -> str:
    """The language in use."""
    return _current


def t(text: str, /, **values: object) -> str:
    """The text in the language in use, its {names} filled in."""
    chosen = ZH.get(text, text) if _current == "zh" else text
    return chosen.format(**values) if values else chosen


def both(text: str, /, **values: object) -> tuple[str, str]:
    """Chinese and English, for answers to programs, whose reader nobody knows."""
    chinese = ZH.get(text, text)
    return (chinese.format(**values), text.format(**values)) if values else (chinese, text)


def language_of(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """--lang before all, then what the system's settings say."""
    for at, argument in enumerate(arguments):
        if argument.startswith("--lang="):
            return argument.removeprefix("--lang=")
        if argument == "--lang" and at + 1 < len(arguments):
            return arguments[at + 1]
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return "zh" if environ[name].lower().startswith("zh") else "en"
    return "en"
