"""What a witness was told it remembers: after a fault at any call of the kernel, a kill, or lost power, it has signed
nothing that it does not know."""

from pathlib import Path

import pytest

from telemetry.evidence import checkpoint
from telemetry.witness.memory import MOST_CAUGHT, ForkError, Memory
from tests.telemetry.evidence.disk import FAULTS, Disk, Killed
from tests.telemetry.witness.kit import ENTRIES, KEY, ORIGIN, log_in, request


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_at_any_call(tmp_path: Path, fault: str | int) -> None:
    log = log_in(tmp_path / "log", 5)
    first = request(log, 0)
    log.append(ENTRIES[5:9])
    second = request(log, 5)
    asked = [(one, checkpoint.open_signed(one.signed, KEY)) for one in (first, second)]
    whole = Disk()
    memory = Memory(tmp_path / "whole", whole)
    for one, head in asked:
        memory.take(one, head, (KEY,))
    assert len(whole.done) > 12
    for at in range(1, len(whole.done) + 1):
        for seed in range(3):
            disk = Disk(at, fault)
            directory = tmp_path / f"{at}-{seed}"
            accepted = 0  # the size that may have been signed
            try:
                memory = Memory(directory, disk)
                for one, head in asked:
                    memory.take(one, head, (KEY,))
                    accepted = head.size
            except (OSError, Killed):
                assert fault != "short"
            if fault == "kill":
                disk.power_loss(seed)
            again = Memory(directory, Disk())
            latest = again.latest(ORIGIN, (KEY,))
            size = latest.size if latest else 0
            assert size >= accepted, f"call {at}, {whole.done[at - 1]}"
            if size == 5:
                again.take(*asked[1], (KEY,))
                latest = again.latest(ORIGIN, (KEY,))
                assert latest is not None
                assert latest.size == 9, "it goes on from there"


def test_what_is_caught_cannot_fill_the_disk(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    memory = Memory(tmp_path / "memory", Disk())
    memory.take(request(log, 0), checkpoint.open_signed(log.signed, KEY), (KEY,))
    for number in range(MOST_CAUGHT):
        (tmp_path / "memory/caught" / str(number)).touch()
    other = log_in(tmp_path / "other", 5, [b"else", *ENTRIES])
    with pytest.raises(ForkError, match="two trees of the one size 5"):
        memory.take(request(other, 5), checkpoint.open_signed(other.signed, KEY), (KEY,))
    assert len(list((tmp_path / "memory/caught").iterdir())) == MOST_CAUGHT
