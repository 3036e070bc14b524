"""What is wrong with a policy file: in which file and line, what, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass

from ops.yamlnode import Problem, ProblemsError


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding. warning: it may be meant, and keeps nobody from going on."""

    file: str
    line: int
    wrong: str
    remedy: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """FILE:LINE: what; what to do."""
        return f"{self.file}:{self.line}: {self.wrong}" + (f"; {self.remedy}" if self.remedy else "")


class FilesError(Exception):
    """Files that cannot be used, with all that is wrong with them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = sorted(findings)
        super().__init__("\n".join(map(str, self.findings)))


def located(file: str, problems: ProblemsError) -> list[Finding]:
    """The YAML reader's problems in a file."""
    return [_finding(file, problem) for problem in problems.found]


def _finding(file: str, problem: Problem) -> Finding:
    return Finding(file, problem.line, problem.wrong, f"expected {problem.expected}")
