"""What is wrong with rules, each thing with its place and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """file as it was named, line from 1, the rule's title or "", what is wrong, and what to do now."""

    file: str
    line: int
    rule: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.remedy}"


class RulesError(ValueError):
    """Rules that cannot run, with all that is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = problems


class FaultError(Exception):
    """One thing wrong inside a rule: where (a path of keys within its document), what, and what to do."""

    def __init__(self, where: tuple[str, ...], what: str, remedy: str) -> None:
        super().__init__(what)
        self.where, self.what, self.remedy = where, what, remedy
