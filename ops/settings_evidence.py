"""What must fit together in the settings of evidence and retention."""

from ops.settings import Settings
from telemetry.evidence.note import parse_key
from telemetry.witness.policy import Policy


def witness_key(value: str) -> str:
    """The verifier key of a witness as it is written. Raises ValueError (EvidenceError is one) for any other."""
    Policy((parse_key(value),), 1)
    return value


def evidence_faults(settings: Settings) -> list[tuple[str, str, str]]:
    """What is wrong: the key, what, and what is expected instead."""
    evidence, retention = settings.evidence, settings.retention
    names = len({witness.key.partition("+")[0] for witness in evidence.witnesses})
    found = []
    if evidence.quorum > names:
        found.append(("evidence", f"quorum {evidence.quorum} cannot be had of {names} witnesses", "at most as many"))
    most = retention.ceiling
    too_long = [name for name in ("days", "personal_days") if getattr(retention, name) > most]
    return found + [("retention", f"{name} is more than ceiling", "at most the ceiling") for name in too_long]
