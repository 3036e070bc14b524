"""A spot check's file is repeated from itself and from the log, and the first thing that was tampered with is named."""

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import beginning, collect
from telemetry.evidence.integrate import open_log
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.tile import ENTRIES, tile_at
from telemetry.record import Record, encode
from telemetry.spotcheck import plan, population, sample
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.file import make
from telemetry.spotcheck.form import File, Fixed, parse
from telemetry.spotcheck.repeat import repeat
from telemetry.spotcheck.states import Act, State

NODE, REF = "gw1.zone.example", "7F3K9Q2M4XW5T0AB"
WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS_KEY = note.VerifierKey("witness.example", note.COSIGNATURE, WITNESS.public_key().public_bytes_raw())
PLAN = plan.convert(
    {
        "since": 1000, "until": 2000, "after": 3000, "source": "round 9000000",
        "strata": [{"name": "transfers", "size": 20, "kind": "close"}, {"name": "refusals", "size": 5, "kind": "deny"}],
    }
)  # fmt: skip


class Log:
    """An evidence log that is written as a node would."""

    def __init__(self, root: Path) -> None:
        self.log: EvidenceLog = open_log(root, NODE)
        self.key, self.reader, self.seq = self.log.key, self.log.reader, 0

    def made(self, kind: str, second: float, **fields: Any) -> bytes:
        self.seq += 1
        time = int(second * 1e6)
        return encode(Record(node=NODE, boot="0000abcd", worker="w0.1", seq=self.seq, kind=kind, time=time, **fields))

    def add(self, kind: str, second: float, **fields: Any) -> int:
        self.log.append([self.made(kind, second, **fields)])
        return self.log.size - 1

    def step(self, act: Act, second: float, **facts: str) -> int:
        return self.add("spotcheck", second, detail=act.value, ref=REF, facts=facts)

    def head(self) -> Checkpoint:
        return checkpoint.open_signed(self.reader.checkpoint(), self.key)

    def draw(self, index: int, second: float = 3100, value: str = "0badc0de", **wrong: str) -> None:
        told = repeat(make(self.reader, self.key, REF, index), self.key)
        found = population.leaves(self.reader, self.head(), told.head, told.plan)
        facts = {
            "value": value,
            "seed": sample.seed_of(told.head, value.encode()).hex(),
            "counts": json.dumps({name: len(each) for name, each in found.items()}),
        }
        self.step(Act.DRAW, second, **{**facts, **wrong})


def cosigned(signed: bytes, second: int) -> str:
    """The checkpoint with a witness's cosignature (C2SP tlog-cosignature) beneath."""
    read = note.parse(signed)
    signature = WITNESS.sign(b"cosignature/v1\ntime %d\n%b" % (second, read.text.encode()))
    line = note.Signature(WITNESS_KEY.name, WITNESS_KEY.key_id, second.to_bytes(8) + signature)
    return note.render(note.Note(read.text, (*read.signatures, line))).decode()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path)
    kinds = ("open", "close", "deny", "heartbeat")
    made.log.append([made.made(kinds[at % 4], 1000 + at, flow=f"F{at}", tenant="acme") for at in range(300)])
    return made


@pytest.fixture
def planned(log: Log) -> int:
    return log.step(Act.PLAN, 2500, plan=plan.encode(PLAN))


def checked(log: Log, index: int) -> File:
    """A whole spot check: planned, something happens, drawn, reviewed."""
    log.add("close", 1500, flow="late")  # inside of the time, but behind the plan: outside of the population
    log.draw(index)
    log.step(Act.REVIEW, 3200)
    first = make(log.reader, log.key, REF, index).samples["transfers"][0]
    log.step(Act.PASS, 3300, index=str(first))
    return parse(msgspec.json.encode(make(log.reader, log.key, REF, index)))


def test_the_draw_is_repeated_from_the_file_alone_and_from_the_log(log: Log, planned: int) -> None:
    file = checked(log, planned)
    alone = repeat(file, log.key)
    assert (alone.state, alone.counts, alone.checked) == (State.IN_REVIEW, {"transfers": 75, "refusals": 75}, False)
    assert [len(found) for found in alone.samples.values()] == [20, 5]
    whole = repeat(file, log.key, reader=log.reader)
    assert whole.checked
    assert whole.samples == alone.samples == file.samples
    drawn = sample.draw(whole.seed, "transfers", 75, 20)
    assert whole.samples["transfers"] == [4 * number + 1 for number in drawn], "the n-th close stands at 4 n + 1"


def test_before_the_draw_the_file_shows_that_the_plan_is_fixed(log: Log, planned: int) -> None:
    told = repeat(make(log.reader, log.key, REF, planned), log.key)
    assert (told.state, told.seed, told.head.size) == (State.PLANNED, b"", planned + 1)


def test_the_seed_does_not_hang_on_which_later_checkpoint_is_shown(log: Log, planned: int) -> None:
    seeds = set()
    for _ in range(3):
        log.add("heartbeat", 2600)
        told = repeat(make(log.reader, log.key, REF, planned), log.key)
        seeds.add(sample.seed_of(told.head, b"1"))
    assert len(seeds) == 1, "or the operator would choose among a checkpoint a second once the value is known"


def test_a_witness_says_that_the_plan_was_there_before_the_value(log: Log, planned: int) -> None:
    signed = log.reader.checkpoint()
    hashes = make(log.reader, log.key, REF, planned).fixed.hashes
    file = checked(log, planned)
    for second, early in ((2999, ["witness.example"]), (3000, [])):
        file = msgspec.structs.replace(file, fixed=Fixed(cosigned(signed, second), hashes))
        assert repeat(file, log.key, [WITNESS_KEY]).early == early
    assert repeat(file, log.key).early == [], "an unknown witness counts for nothing"


def test_the_file_of_a_plan_holds_the_cosigned_checkpoint_where_there_is_one_behind_it(log: Log, planned: int) -> None:
    beside = log.reader.directory / "witnessed"
    signed, size = log.reader.checkpoint(), log.log.size
    log.add("heartbeat", 2600)
    for second, head in ((2999, signed), (2998, log.reader.checkpoint())):
        beside.write_text(cosigned(head, second))
        log.add("heartbeat", 2600)
        file = make(log.reader, log.key, REF, planned)
        assert file.fixed.checkpoint == beside.read_text()
        assert repeat(file, log.key, [WITNESS_KEY]).early == ["witness.example"]
    plain = make(log.reader, log.key, REF, log.step(Act.PLAN, 2700, plan=plan.encode(PLAN)))
    assert plain.fixed.checkpoint == log.reader.checkpoint().decode(), "one from before says nothing of it"
    assert size == planned + 1


def test_plans_that_were_never_drawn_are_named(log: Log, planned: int) -> None:
    other = log.add("spotcheck", 2400, detail="plan", ref="0000000000000001", facts={"plan": plan.encode(PLAN)})
    told = repeat(checked(log, planned), log.key, reader=log.reader)
    assert told.unfinished == {"0000000000000001": other}


WRONG_DRAWS: dict[str, tuple[dict[str, Any], str]] = {
    "another seed": ({"seed": "00" * 32}, "the seed of this plan, checkpoint and value is"),
    "another value for the same seed": ({"seed": "SAME", "value": "1"}, "the seed of this plan, checkpoint and value"),
    "no value": ({"value": " "}, "names no value"),
    "no counts": ({"counts": "many"}, "does not hold a seed and the counts"),
    "counts of other strata": ({"counts": '{"transfers":75}'}, "are not those of the plan's strata"),
    "more than the log holds": ({"counts": '{"transfers":75,"refusals":9999}'}, "are not those of the plan's strata"),
    "before the value": ({"second": 2999}, "before its value could have appeared"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG_DRAWS.values(), ids=WRONG_DRAWS)
def test_a_wrong_draw_is_named(log: Log, planned: int, wrong: dict[str, Any], why: str) -> None:
    if wrong.get("seed") == "SAME":
        told = repeat(make(log.reader, log.key, REF, planned), log.key)
        wrong = {**wrong, "seed": sample.seed_of(told.head, b"0badc0de").hex()}
        log.step(Act.DRAW, 3100, counts="{}", **wrong)
    else:
        log.draw(planned, **wrong)
    with pytest.raises(SpotcheckError, match=why):
        make(log.reader, log.key, REF, planned)


def test_a_plan_from_when_the_value_was_known_is_refused(log: Log) -> None:
    index = log.step(Act.PLAN, 3000, plan=plan.encode(PLAN))
    with pytest.raises(SpotcheckError, match="when its value had already appeared"):
        make(log.reader, log.key, REF, index)


def test_counts_that_leave_records_out_are_found_with_the_log(log: Log, planned: int) -> None:
    log.draw(planned, counts='{"transfers":70,"refusals":75}')
    file = make(log.reader, log.key, REF, planned)
    repeat(file, log.key)
    with pytest.raises(SpotcheckError, match="stratum transfers has 75 records in the log, but was drawn from as 70"):
        repeat(file, log.key, reader=log.reader)


def test_a_draw_that_lists_another_sample_is_found(log: Log, planned: int) -> None:
    log.draw(planned, sample='{"transfers":[1],"refusals":[2]}')
    file = make(log.reader, log.key, REF, planned)
    with pytest.raises(SpotcheckError, match="lists another sample than its seed draws"):
        repeat(file, log.key)


def test_a_result_for_a_record_outside_of_the_sample_is_found(log: Log, planned: int) -> None:
    log.draw(planned)
    log.step(Act.REVIEW, 3200)
    log.step(Act.PASS, 3300, index="0")
    with pytest.raises(SpotcheckError, match="is about a record that is not in the sample"):
        repeat(make(log.reader, log.key, REF, planned), log.key)


def test_of_two_draws_the_log_shows_the_one_that_the_file_leaves_out(log: Log, planned: int) -> None:
    hidden = log.log.size
    log.draw(planned, value="1")
    log.draw(planned, value="2")
    raw = _with_steps(log, planned, [hidden + 1])
    repeat(raw, log.key)
    with pytest.raises(SpotcheckError, match=f"record {hidden} of the log is a step of this spot check too"):
        repeat(raw, log.key, reader=log.reader)


def _with_steps(log: Log, planned: int, steps: list[int]) -> File:
    """A file as an operator would make it who shows only these steps."""
    old, hashes = beginning(log.reader, log.head(), planned + 1)
    record = population.read(log.reader.entries(tile_at(ENTRIES, steps[0] // 256, log.log.size))[steps[0] % 256])
    assert record
    seed = bytes.fromhex((record.facts or {})["seed"])
    found = population.leaves(log.reader, log.head(), old, PLAN)
    samples = {s.name: [found[s.name][at] for at in sample.draw(seed, s.name, 75, s.size)] for s in PLAN.strata}
    signed = log.reader.checkpoint()
    wanted = [planned, *steps, *(at for each in samples.values() for at in each)]
    return File(
        plan=planned, root=note.encode64(old.root), hashes=hashes, fixed=Fixed(signed.decode(), hashes), steps=steps,
        samples=samples, extract=collect(log.reader, signed, log.head(), wanted),
    )  # fmt: skip


def test_a_file_cut_or_changed_anywhere_is_never_a_traceback(log: Log, planned: int) -> None:
    data = msgspec.json.encode(checked(log, planned))
    chance = random.Random(7)
    for _ in range(300):
        at = chance.randrange(len(data))
        for wrong in (data[:at], data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]):
            with contextlib.suppress(EvidenceError, SpotcheckError):
                told = repeat(parse(wrong), log.key)
                assert told.samples == repeat(parse(data), log.key).samples, at


def test_a_second_draw_is_not_allowed(log: Log, planned: int) -> None:
    log.draw(planned)
    log.step(Act.DRAW, 3200, value="2")
    with pytest.raises(SpotcheckError, match="that is SAMPLED takes no draw"):
        make(log.reader, log.key, REF, planned)


def swap_sample(raw: dict[str, Any]) -> None:
    raw["samples"]["transfers"][0], raw["samples"]["transfers"][1] = raw["samples"]["transfers"][1::-1]


def other_record(raw: dict[str, Any]) -> None:
    """Another record that is proved too, in place of the one drawn."""
    raw["samples"]["refusals"] = raw["samples"]["transfers"][:5]


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a record's text": (
        lambda raw: raw["extract"]["records"][0].update(record=raw["extract"]["records"][0]["record"] + " "),
        "leads to another root",
    ),
    "a proof": (lambda raw: raw["extract"]["records"][0]["hashes"].pop(), "ends after|leads to another"),
    "a record twice": (lambda raw: raw["extract"].update(records=raw["extract"]["records"] * 2), "in the file twice"),
    "the order of the sample": (swap_sample, "the sample of stratum transfers is not the one"),
    "a sample of another stratum": (other_record, "refusals"),
    "a sample cut short": (lambda raw: raw["samples"]["refusals"].pop(), "refusals is not the one that its seed draws"),
    "no sample": (lambda raw: raw.pop("samples"), "transfers is not the one that its seed draws"),
    "a step left out of the middle": (lambda raw: raw["steps"].pop(1), "that is SAMPLED takes no pass"),
    "steps in another order": (lambda raw: raw["steps"].reverse(), "takes no pass|is no later step"),
    "the plan's place": (lambda raw: raw.update(plan=raw["plan"] - 1), "is no plan of a spot check"),
    "the head's root": (lambda raw: raw.update(root="A" * 43 + "="), "misses the root|different roots"),
    "the fixed checkpoint's proof": (lambda raw: raw["fixed"]["hashes"].clear(), "consistency proof"),
    "a foreign checkpoint": (
        lambda raw: raw["extract"].update(checkpoint=raw["extract"]["checkpoint"].replace("gw1", "gw2")),
        "not signed by|by none of the keys",
    ),
    "another format": (lambda raw: raw.update(format="feiyu-spotcheck-v9"), "format is 'feiyu-spotcheck-v9'"),
    "a further field": (lambda raw: raw.update(more=1), "is no file of a spot check"),
    "a huge index": (lambda raw: raw["extract"]["records"][0].update(index=1 << 62), "has no leaf"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "why"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_named(
    log: Log, planned: int, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    raw = json.loads(msgspec.json.encode(checked(log, planned)))
    change(raw)
    with pytest.raises((EvidenceError, SpotcheckError), match=why):
        repeat(parse(json.dumps(raw).encode()), log.key)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_file_of_a_spot_check(data: bytes) -> None:
    with pytest.raises(EvidenceError, match="is no file of a spot check"):
        parse(data)


def test_another_log_with_the_same_records_is_not_believed(log: Log, planned: int, tmp_path: Path) -> None:
    file = checked(log, planned)
    other = Log(tmp_path / "other")
    other.log.append([b'{"v":1,"other":%d}' % index for index in range(log.log.size)])
    head = repeat(file, log.key).head
    with pytest.raises(EvidenceError, match="are not those that the plan was fixed with"):
        population.leaves(other.reader, other.head(), head, PLAN)
    with pytest.raises(EvidenceError, match="the log has 9 entries, but the plan was fixed with 301"):
        population.leaves(log.reader, Checkpoint(head.origin, 9, head.root), head, PLAN)
    spoilt = log.reader.directory / "tile/entries/000"
    spoilt.write_bytes(spoilt.read_bytes().replace(b'"flow":"F9"', b'"flow":"F8"'))
    with pytest.raises(EvidenceError, match="entry 9 does not have the hash that tile/0/000 holds for it"):
        population.leaves(log.reader, log.head(), head, PLAN)
    with pytest.raises(EvidenceError, match="and by none of the keys to verify it with"):
        repeat(file, log.key, reader=other.reader)
