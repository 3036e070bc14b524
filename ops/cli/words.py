"""The language of what the command says. The words in the code are the English ones; their Chinese stands in words_zh,
so that a text without a translation is still a text, and a test can find it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ops.cli.words_zh import ZH

LANGUAGES = ("zh", "en")
_current = "en"


def use(language: str) -> None:
    """Sets the language of this process."""
    global _current
    _current = language if language in LANGUAGES else "en"


def current() -> str:
    """The language in use, "zh" or "en"."""
    return _current


def t(text: str, /, **values: object) -> str:
    """The text in the language in use, its {names} filled in."""
    chosen = ZH.get(text, text) if _current == "zh" else text
    return chosen.format(**values) if values else chosen


@contextmanager
def in_english() -> Iterator[None]:
    """English for a while."""
    before = current()
    use("en")
    try:
        yield
    finally:
        use(before)


def language_of(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The language asked for: --lang before all, then LC_ALL, LC_MESSAGES, LANG. Read before click does, because the
    help itself is to be in that language."""
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--lang" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--lang="):
            return argument.removeprefix("--lang=")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return "zh" if environ[name].lower().startswith("zh") else "en"
    return "en"
