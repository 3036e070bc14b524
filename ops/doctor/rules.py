"""Detection rules as configured: whether the recorder will take them, and whether its user can read them."""

from collections.abc import Iterator
from pathlib import Path

from ops import privileges
from ops.doctor.finding import Finding, fail, ok, warn
from ops.processes import rule_paths
from ops.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding for each thing wrong, or one for the whole set."""
    from telemetry.interception.problem import RulesError  # pySigma takes 0.2 s to load
    from telemetry.interception.ruleset import load
    from telemetry.interception.where import verdicts

    paths = [Path(path) for path in rule_paths(settings)]
    if not paths:
        yield warn("rules", "there are none", "set rules.pack: starter, or rules.paths")
        return
    users = settings.users
    if users.recorder is not None and users.group is not None and privileges.usable(users.recorder):
        closed = privileges.unreachable([path for path in paths if path.exists()], users.recorder, users.group)
        if closed is not None:
            yield fail("rules", f"{closed} is closed to the recorder's user", "let it read the rules")
            return
    try:
        found = load(paths)
    except RulesError as error:
        for problem in error.problems:
            yield fail("rules", f"{problem.file}:{problem.line}: {problem.what}", problem.remedy)
        return
    mute = sum(bool(verdict.never) for verdict in verdicts(found).values())
    acting = "they may act" if settings.rules.action == "act" else "they only tell"
    yield ok("rules", f"{len(found)} rules, {acting}" + (f"; {mute} can never fire: feiyu rule lint" if mute else ""))
