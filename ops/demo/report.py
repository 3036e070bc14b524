"""What the walk prints: each step in Chinese and English, the command, what came back, and whether that is right."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

_COLOURS = {"bold": "1", "dim": "2", "green": "32", "red": "1;31", "cyan": "36"}
_LONGEST = 170  # characters of one line that came back


class Report:
    """Counts what passed and what failed while it prints."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.passed = 0
        self.failed = 0
        self.complete = False
        self._out = out
        self._steps = 0
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._start = time.monotonic()

    def step(self, zh: str, en: str) -> None:
        """A step begins."""
        self._steps += 1
        self._say("")
        self._say(self._paint("bold", f"━━ {self._steps:>2} ━━ {zh} · {en}"))

    def note(self, zh: str, en: str) -> None:
        """A sentence."""
        self._say(f"  {zh} · {en}" if zh else f"  {en}")

    def ran(self, command: str) -> None:
        """A command, as a person would type it."""
        self._say("  " + self._paint("cyan", f"$ {command}"))

    def got(self, *lines: str) -> None:
        """What it said."""
        for line in lines:
            text = line.rstrip()
            self._say("    " + self._paint("dim", text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"))

    def check(self, zh: str, en: str, *, ok: bool, found: object = "") -> bool:
        """What should be so. found: what was there instead, said only when it is not so."""
        self.passed += ok
        self.failed += not ok
        mark = self._paint("green", "✓") if ok else self._paint("red", "✗")
        self._say(f"  {mark} {zh} · {en}" + ("" if ok else self._paint("red", f"  ← {found}")))
        return ok

    def ended(self) -> None:
        """The last line."""
        self.complete = True
        self._say("")
        self.note(f"用时 {time.monotonic() - self._start:.0f} 秒", f"{time.monotonic() - self._start:.0f} s")
        self._say(f"{self.passed} passed, {self.failed} failed")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Lines of columns."""
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
        for row in rows:
            self._say("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colour else text

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)
