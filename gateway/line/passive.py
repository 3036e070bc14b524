"""What live flows say of a line: their round trips beside the line's own usual, and what they must send again. Pure.

A firm's flows to one slow or lossy site say something of the site. So the line is judged by its services: each host has
one voice in a period (gateway.figures); fewer than degraded_services say nothing; round trips count by their median,
which a few slow sites do not move, and beside what is usual for this line, since lines and their services differ;
segments sent again count only where a quarter of the hosts had some, since one heavy upload can make up any ratio.
Passive figures never make a line down: a line is dead when nothing comes through, and then there are none.
"""

from collections import deque
from dataclasses import dataclass, field

from gateway.config import Health
from gateway.figures import PERIOD, LineFigures, bucket_start

WINDOW = 4  # periods that are shown together: a minute
_LEARNT = 20  # periods until there is a usual: five minutes
_MEMORY = 3600 / PERIOD  # periods: what lasts for hours is what is usual now, and the metrics tell the change
_NOTICED = 10_000  # µs more than usual are no trouble on any line, whatever the ratio
_LEAST_SEGMENTS = 100  # or the ratio is chance
_BREADTH = 4  # one host in so many must see losses


def median_us(voices: tuple[int, ...]) -> int | None:
    """The median round trip of a histogram, within its bucket as if that were evenly filled; None of no voices."""
    half, below = sum(voices) / 2, 0
    for bucket, count in enumerate(voices):
        if count and below + count >= half:
            start, end = bucket_start(bucket), bucket_start(bucket + 1)
            return round(start + (end - start) * (half - below) / count)
        below += count
    return None


@dataclass(slots=True)
class Passive:
    """One line. Every PERIOD take() gets the readings of its figures; heard are those of the last minute; usual: µs, 0
    while it is learnt."""

    rules: Health
    before: LineFigures | None = None
    heard: deque[LineFigures] = field(default_factory=lambda: deque(maxlen=WINDOW))
    usual: float = 0.0
    learnt: int = 0

    def take(self, now: LineFigures) -> str | None:
        """What is wrong by the flows of this period; "" where nothing is, None where too few are heard to say."""
        if self.before is None:  # what was counted before this process began is not of this period
            self.before = now
            return None
        fresh, self.before = now.since(self.before), now
        self.heard.append(fresh)
        voices = sum(fresh.voices)
        if voices < self.rules.degraded_services:
            return None
        return self._losing(fresh, voices) or self._slow(fresh, voices)

    @property
    def rtt_us(self) -> int | None:
        """The median round trip of the last minute, by host; None where no flow was heard."""
        return median_us(tuple(map(sum, zip(*(each.voices for each in self.heard), strict=True))))

    @property
    def retransmits_ppm(self) -> int | None:
        """Segments sent again in the last minute, of a million; None where none were sent."""
        segments = sum(each.segments for each in self.heard)
        return sum(each.retransmits for each in self.heard) * 1_000_000 // segments if segments else None

    def _losing(self, fresh: LineFigures, voices: int) -> str:
        part = fresh.retransmits / max(fresh.segments, _LEAST_SEGMENTS)
        if part < self.rules.degraded_loss or fresh.losing * _BREADTH < voices:
            return ""
        return f"{part:.1%} of the segments are sent again, to {fresh.losing} of {voices} services"

    def _slow(self, fresh: LineFigures, voices: int) -> str:
        median = median_us(fresh.voices)
        assert median is not None
        usual, told = self.usual, ""
        enough = max(usual * self.rules.degraded_rtt, usual + _NOTICED)
        if self.learnt >= _LEARNT and median >= enough:
            told = f"round trips to {voices} services take {median / 1000:.0f} ms, usually {usual / 1000:.0f} ms"
        self.learnt = min(self.learnt + 1, round(_MEMORY))
        self.usual += (median - self.usual) / self.learnt  # the mean so far, then one that forgets
        return told
