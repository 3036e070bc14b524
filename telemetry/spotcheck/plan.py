"""A plan: what is fixed before the value of the draw can be known, stored as canonical JSON in its record. Pure."""

import re
from typing import Any

import msgspec

from telemetry.record import Record
from telemetry.search import Filter
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.sample import MAX_SIZE, ROLES

MAX_STRATA = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_COMMITMENT = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Stratum(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of the population that is drawn from by itself: at most `size` of the records that fit. Empty fields fit
    anything."""

    name: str
    size: int
    kind: str = ""
    tenant: str = ""
    line: str = ""
    service: str = ""
    grant: str = ""
    host: str = ""
    reason: str = ""

    def filter(self) -> Filter:
        """What the log is searched by; service and grant are not among it."""
        return Filter(kind=self.kind, tenant=self.tenant, line=self.line, host=self.host, reason=self.reason)

    def fits(self, record: Record) -> bool:
        """Whether a record belongs here, unless to an earlier stratum."""
        of_grant = self.service in ("", record.service) and self.grant in ("", record.grant)
        return of_grant and self.filter().matches(record)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """since, until: Unix seconds, records of which times are looked at (until excluded); after: when the value appears,
    at the earliest; source: which value that is, in words, so that anybody can look it up ("drand quicknet, round
    9000000", "the lottery of 26 November"). commitments: instead of a public value, by role, of two secrets
    (sample.commitment). confidence, rate: what the sizes were taken from, in percent, for who reads it."""

    since: int
    until: int
    after: int
    strata: tuple[Stratum, ...]
    source: str
    commitments: dict[str, str] = {}
    confidence: str = ""
    rate: str = ""

    def stratum_of(self, record: Record) -> Stratum | None:
        """The first stratum that a record belongs to; None outside of the population."""
        if not self.since * 1_000_000 <= record.time < self.until * 1_000_000:
            return None
        return next((stratum for stratum in self.strata if stratum.fits(record)), None)


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Plan)


def encode(plan: Plan) -> str:
    """The plan's one text."""
    return _encoder.encode(plan).decode()


def parse(data: str | bytes) -> Plan:
    """Reads a plan's text. Raises SpotcheckError for what could not be drawn from."""
    try:
        plan = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise SpotcheckError(f"the plan cannot be read: {error}") from None
    for wrong, what in _faults(plan):
        if wrong:
            raise SpotcheckError(what)
    return plan


def convert(fields: Any) -> Plan:
    """A plan from JSON types. Raises SpotcheckError."""
    return parse(msgspec.json.encode(fields))


def _faults(plan: Plan) -> list[tuple[bool, str]]:
    names = [stratum.name for stratum in plan.strata]
    return [
        (not 0 <= plan.since < plan.until < 1 << 40, f"the plan's time {plan.since} to {plan.until} is no span"),
        (not plan.until <= plan.after < 1 << 40, "the value may appear before the time that is looked at has ended"),
        (not 1 <= len(names) <= MAX_STRATA, f"the plan has {len(names)} strata; expected 1 to {MAX_STRATA}"),
        (len(set(names)) < len(names), "two strata of the plan have one name"),
        (not all(map(_NAME.fullmatch, names)), "a stratum's name needs 1 to 32 of a-z, 0-9 and dashes"),
        (not all(1 <= s.size <= MAX_SIZE for s in plan.strata), f"a stratum's size needs to be 1 to {MAX_SIZE}"),
        (not 1 <= len(plan.source.strip()) <= 500, "the plan does not say which value it is drawn with"),
        (
            bool(plan.commitments)
            and (set(plan.commitments) != set(ROLES) or not all(map(_COMMITMENT.fullmatch, plan.commitments.values()))),
            f"commitments need one SHA-256 in hexadecimal each of {' and '.join(ROLES)}",
        ),
    ]
