"""What the flows of a period say of their line: tables of periods, and what is complained of in the last of them."""

from dataclasses import dataclass

import pytest

from gateway.config import Health
from gateway.figures import BUCKETS, LineFigures, bucket_of
from gateway.line.passive import Passive, median_us

RULES = Health(degraded_rtt=3, degraded_loss=0.05, degraded_services=10)


@dataclass(frozen=True)
class Period:
    """rtts: milliseconds → hosts; losing: of them, those that sent again; of segments, again were sent again."""

    rtts: dict[int, int]
    segments: int = 1000
    again: int = 0
    losing: int = 0


def figures(*periods: Period) -> LineFigures:
    """What the workers' file says after these periods."""
    voices = [0] * BUCKETS
    for period in periods:
        for milliseconds, hosts in period.rtts.items():
            voices[bucket_of(milliseconds * 1000)] += hosts
    return LineFigures(
        segments=sum(p.segments for p in periods),
        retransmits=sum(p.again for p in periods),
        losing=sum(p.losing for p in periods),
        voices=tuple(voices),
    )


USUAL = [Period({40: 20})] * 25
SILENCE = Period({}, segments=0)
PERIODS: dict[str, tuple[list[Period], str | None]] = {
    "as usual": ([*USUAL, Period({40: 20})], ""),
    "too few services to say": ([*USUAL, Period({900: 9}, 1000, 500, 9)], None),
    "no flows at all": ([*USUAL, SILENCE], None),
    "most round trips are three times the usual": (
        [*USUAL, Period({160: 15, 40: 5})],
        "round trips to 20 services take 153 ms, usually 41 ms",
    ),
    "a few slow sites beside many": ([*USUAL, Period({3000: 5, 40: 15})], ""),
    "twice the usual is not three times": ([*USUAL, Period({80: 20})], ""),
    "a line to far away is slow as usual": ([*[Period({300: 20})] * 25, Period({300: 20})], ""),
    "a millisecond more is no trouble, whatever the ratio": ([*[Period({1: 20})] * 25, Period({5: 20})], ""),
    "the usual is not yet known": ([*[Period({40: 20})] * 10, Period({900: 20})], ""),
    "what lasts for two hours is usual": ([*USUAL, *[Period({160: 20})] * 480], ""),
    "one service has many losses": ([*USUAL, Period({40: 20}, 1000, 400, 1)], ""),
    "losses to a quarter of the services": (
        [*USUAL, Period({40: 20}, 1000, 60, 5)],
        "6.0% of the segments are sent again, to 5 of 20 services",
    ),
    "few losses to many services": ([*USUAL, Period({40: 20}, 1000, 40, 15)], ""),
    "few segments are chance": ([*USUAL, Period({40: 20}, 20, 4, 5)], ""),
    "losses before there is a usual": (
        [Period({40: 12}, 500, 100, 6)],
        "20.0% of the segments are sent again, to 6 of 12 services",
    ),
}


@pytest.mark.parametrize("sentence", PERIODS)
def test_of_a_period(sentence: str) -> None:
    periods, wanted = PERIODS[sentence]
    passive = Passive(RULES)
    assert passive.take(figures()) is None, "what was before is of no period"
    said: str | None = None
    for number in range(len(periods)):
        said = passive.take(figures(*periods[: number + 1]))
    assert said == wanted


def test_figures_are_those_of_the_last_minute() -> None:
    passive, periods = Passive(RULES), [Period({900: 5}, 100, 50, 5), *[Period({40: 1}, 250, 1)] * 4]
    passive.take(figures())
    for number in range(len(periods)):
        passive.take(figures(*periods[: number + 1]))
    assert passive.retransmits_ppm == 4000
    assert passive.rtt_us == pytest.approx(40_000, rel=0.25)


def test_without_flows_nothing_is_known() -> None:
    passive = Passive(RULES)
    assert (passive.rtt_us, passive.retransmits_ppm) == (None, None)
    passive.take(figures())
    passive.take(figures(SILENCE))
    assert (passive.rtt_us, passive.retransmits_ppm) == (None, None)


def test_a_median_lies_within_its_bucket() -> None:
    voices = [0] * BUCKETS
    assert median_us(tuple(voices)) is None
    voices[bucket_of(40_000)] = 1
    assert bucket_of(median_us(tuple(voices)) or 0) == bucket_of(40_000)
