"""The files that rules come from: read at start, looked at every few seconds, and kept in a copy of the last good set.

A set with anything wrong in it is refused whole; the one that runs stays, also over a restart.
"""

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from telemetry.interception.document import files_below
from telemetry.interception.engine import Engine
from telemetry.interception.problem import RulesError
from telemetry.interception.ruleset import RuleSet, load

LOOK = 2.0  # seconds
log = logging.getLogger("feiyu.recorder")


class RuleFiles:
    """kept: the folder of the copy. After start(), changed() gives what a look has brought."""

    def __init__(self, paths: Sequence[Path], kept: Path) -> None:
        self._paths, self._kept = list(paths), kept
        self._seen: list[tuple[str, int, int]] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._found: Engine | str | None = None

    def first(self) -> tuple[RuleSet, str]:
        """The rules to begin with, and "" or why they are not those in the files."""
        self._seen = self._look()
        try:
            found = load(self._paths)
        except RulesError as error:
            problem = str(error)
        else:
            try:
                self._keep()
            except OSError as error:  # they run all the same, but a later mistake would leave none
                log.error("the rules cannot be kept: %s", error)
            return found, ""
        log.error("rules refused: %s", problem)
        try:
            return load([self._kept]) if self._kept.is_dir() else RuleSet(), problem
        except RulesError as error:
            return RuleSet(), f"{problem}; nor can the last good ones be read: {error}"

    def start(self) -> None:
        """Begins to look, in a thread of its own: reading thousands of rules takes seconds."""
        threading.Thread(target=self._run, name="rules", daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self._stopping.set()

    def changed(self) -> Engine | str | None:
        """A new set, ready to run, why one was refused, or None."""
        if self._found is None:
            return None
        with self._lock:
            found, self._found = self._found, None
        return found

    def _run(self) -> None:
        while not self._stopping.wait(LOOK):
            seen = self._look()
            if seen == self._seen:
                continue
            self._seen = seen
            found: Engine | str
            try:
                found = Engine(load(self._paths))  # here, since compiling thousands takes part of a second
                self._keep()
            except RulesError as error:
                found = str(error)
            except OSError as error:
                found = f"the rules cannot be kept: {error}"
            with self._lock:
                self._found = found

    def _look(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of all files."""
        seen = []
        for path in self._paths:
            try:
                for file in files_below(path):
                    status = os.stat(file)
                    seen.append((str(file), status.st_size, status.st_mtime_ns))
            except OSError as error:
                seen.append((str(path), -1, error.errno or 0))
        return seen

    def _keep(self) -> None:
        """Copies the files. A copy that is not whole is never taken for one. Raises OSError."""
        new = self._kept.with_name(self._kept.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        for number, path in enumerate(self._paths):
            for file in files_below(path):
                below = Path(file.name) if file == path else file.relative_to(path)
                target = new / str(number) / below
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        new.mkdir(parents=True, exist_ok=True)
        old = self._kept.with_name(self._kept.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if self._kept.exists():
            os.rename(self._kept, old)
        os.rename(new, self._kept)
        shutil.rmtree(old, ignore_errors=True)
