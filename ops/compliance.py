"""The clause map: what rules ask, what answers it, which tests show it, what stays with the operator."""

from enum import StrEnum
from functools import cache
from importlib.resources import files

import msgspec
import yaml


class Met(StrEnum):
    """How far a clause is met."""

    MET = "met"
    PARTLY = "partly"
    MISSING = "missing"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in both languages."""

    zh: str
    en: str


class Clause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of configs/compliance/clauses.yaml; tests are PATH::NAME."""

    id: str
    standard: str
    clause: str
    state: Met
    requirement: Words
    feature: Words
    operator: Words
    tests: tuple[str, ...] = ()


@cache
def clauses() -> tuple[Clause, ...]:
    """All entries, in the order of the file. Raises msgspec.ValidationError for a file that is not one."""
    text = files("configs").joinpath("compliance/clauses.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), tuple[Clause, ...])
