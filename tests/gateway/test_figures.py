"""The figures of lines over all workers: real files, real locks, real processes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.figures import LineFigures, read
from tests.gateway.node import CODE

# A worker in a process of its own: a lock belongs to a process. It does what it reads, as "opened 1".
_WORKER = """
import sys
from pathlib import Path
from gateway.figures import Figures
figures = Figures(Path(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    name, *numbers = line.split()
    print(getattr(figures, name)(*map(int, numbers)), flush=True)
figures.close()
"""


class Worker:
    """A worker in another process."""

    def __init__(self, path: Path, columns: int = 4) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(path), str(columns)], cwd=CODE, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def do(self, *orders: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        for order in orders:
            self.process.stdin.write(order + "\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "None\n"

    def end(self, number: int = 0) -> None:
        """Ends it in order, or by a signal."""
        if number:
            self.process.send_signal(number)
        assert self.process.communicate(timeout=10)[1] == ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "figures"


def test_before_any_worker_there_are_none(path: Path) -> None:
    assert read(path) == {}


def test_figures_are_sums_over_the_workers_by_line(path: Path) -> None:
    one, two = Worker(path), Worker(path)
    one.do("dialled 1", "dialled 1", "failed 1", "opened 1", "sampled 1 2000 30 2", "exhausted 255")
    two.do("dialled 1", "opened 1", "opened 1", "closed 1", "sampled 1 4000 10 1", "dialled 2")
    assert read(path) == {
        1: LineFigures(
            dialled=3, failed=1, open=2, samples=2, rtt_us_sum=6000, segments=40, retransmits=3, exhausted=0
        ),
        2: LineFigures(dialled=1),
        255: LineFigures(exhausted=1),
    }  # fmt: skip
    one.end()
    two.end()


ENDS = {"ended in order": 0, "was killed": signal.SIGKILL}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_worker_counted_stays_and_what_it_had_open_does_not_once_it(path: Path, end: str) -> None:
    one, two = Worker(path), Worker(path)
    one.do("dialled 1", "opened 1", "sampled 1 5 7 1")
    two.do("dialled 1", "opened 1")
    one.end(ENDS[end])
    two.do("survey")
    assert read(path) == {1: LineFigures(dialled=2, open=1, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}
    three = Worker(path)  # takes the first one's column
    three.do("dialled 1", "opened 1")
    assert read(path) == {1: LineFigures(dialled=3, open=2, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}
    two.end()
    three.end()
    assert read(path) == {1: LineFigures(dialled=3, samples=1, rtt_us_sum=5, segments=7, retransmits=1)}


def test_a_successor_clears_what_a_killed_worker_had_open(path: Path) -> None:
    one = Worker(path)
    one.do("opened 3", "dialled 3")
    one.end(signal.SIGKILL)
    assert read(path) == {3: LineFigures(dialled=1, open=1)}, "before anybody looked"
    Worker(path).end()
    assert read(path) == {3: LineFigures(dialled=1)}


def test_a_survey_sees_columns_that_were_added(path: Path) -> None:
    small = Worker(path, 1)
    large = Worker(path, 3)
    large.do("opened 1", "dialled 1")
    large.end(signal.SIGKILL)
    small.do("survey", "dialled 1")
    assert read(path) == {1: LineFigures(dialled=2)}
    small.end()
