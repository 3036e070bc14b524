"""What can go wrong in a command, and the exit status that says it."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """The statuses scripts may rely on."""

    YES = 0  # done, or nothing to change
    NO = 1  # denied, differs, not found, a check failed
    USAGE = 2  # the command, its values or the configuration are wrong
    WAITING = 3  # waits for approval
    CONFLICT = 4  # the register changed meanwhile
    UNREACHABLE = 5  # control cannot be reached
    FORBIDDEN = 6  # this account may not do that


class CliError(Exception):
    """An end of a command that is told in words: what happened, the field messages if any, and what to do about it."""

    def __init__(
        self,
        code: ExitCode,
        message: str,
        remedy: str = "",
        fields: Sequence[tuple[str, str]] = (),
        status: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.fields = tuple(fields)
        self.status = status  # of the HTTP answer, 0 if there was none


def usage(message: str, remedy: str = "") -> CliError:
    """The error for a value or a combination that cannot be understood (exit 2)."""
    return CliError(ExitCode.USAGE, message, remedy)
