"""What feiyu line list and show make of figures, in both languages; what is not known is said, and is no 0."""

from collections.abc import Iterator
from typing import Any

import pytest

from ops.cli import line_figures, words
from ops.cli.output import plain

NOW = 1_800_000_000
NOTHING = dict.fromkeys(
    ("flows", "rtt_us", "loss_permille", "passive_rtt_us", "retransmits_ppm", "repairs", "dropped", "exhausted")
)
QUIET: dict[str, Any] = {**NOTHING, "line": "hk1", "state": "up", "since": NOW - 7500, "why": "", "bytes_out": 0,
                         "bytes_in": 0}  # fmt: skip
BUSY = {**QUIET, "flows": 12, "rtt_us": 38_240, "loss_permille": 0, "passive_rtt_us": 141_000,
        "retransmits_ppm": 1_500, "bytes_in": 81_000_000, "repairs": 0, "dropped": 3, "exhausted": 1}  # fmt: skip


@pytest.fixture(autouse=True)
def language() -> Iterator[None]:
    before = words.current()
    words.use("en")
    yield
    words.use(before)


def cells(line: dict[str, Any], figures: dict[str, Any] | None) -> list[str]:
    known = {} if figures is None else {"hk1": figures}
    return [plain(column.cell({"id": "hk1", **line})) for column in line_figures.columns(known, NOW)]


# sentence: the ledger's line, its figures; SINCE RTT LOSS FLOWS OUT IN DAYS REPAIRS DROPPED
LISTED: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "a probed line": ({}, BUSY, "2h05m|38 ms|0.0%|12|0|81.0M||0|3"),
    "a line without probes shows what its flows say": (
        {}, {**BUSY, "rtt_us": None, "loss_permille": None}, "2h05m|~141 ms|~0.1%|12|0|81.0M||0|3",
    ),
    "a line of which little is known": ({"valid_until": NOW + 86_400 * 9}, QUIET, "2h05m|?|?|?|0|0|9|?|?"),
    "a node that says nothing": ({"valid_until": NOW - 5}, None, "?|?|?|?|?|?|0|?|?"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", LISTED)
def test_the_list_of(sentence: str) -> None:
    line, figures, wanted = LISTED[sentence]
    assert "|".join(cells(line, figures)) == wanted


# sentence: the ledger's words, state and flows as told; the word shown
STATES: dict[str, tuple[dict[str, Any], str, int | None, str]] = {
    "is up": ({}, "up", 3, "up"),
    "is degraded": ({}, "degraded", 3, "degraded"),
    "drains with flows is draining": ({"drained": True}, "draining", 3, "draining"),
    "drained with none left is drained": ({"drained": True}, "draining", 0, "drained"),
    "drained with nothing known of flows is drained": ({"drained": True}, "draining", None, "drained"),
    "drained and dead is down": ({"drained": True}, "down", 0, "down"),
    "is retired": ({"retired": True}, "down", None, "retired"),
    "nobody knows": ({}, "unknown", None, "unknown"),
}


@pytest.mark.parametrize("sentence", STATES)
def test_the_state_of_a_line_that(sentence: str) -> None:
    line, state, flows, wanted = STATES[sentence]
    told = {"hk1": {"line": "hk1", "state": state, "flows": flows}}
    assert line_figures.state_of({"id": "hk1", **line}, told) == wanted


def test_the_details_tell_probes_from_flows() -> None:
    shown = dict(line_figures.rows({"id": "hk1"}, {"hk1": BUSY}, NOW))
    assert (shown["Round trip (probes)"], shown["Round trip (flows)"]) == ("38 ms", "141 ms")
    assert (shown["Loss (probes)"], shown["Sent again (flows)"]) == ("0.0%", "0.1%")
    assert (shown["Open flows"], shown["Bytes in"], shown["Without a free port"]) == (12, 81_000_000, 1)


@pytest.mark.parametrize(("language", "word"), [("en", "unknown"), ("zh", "未知")])
def test_what_is_not_known_is_said_in(language: str, word: str) -> None:
    words.use(language)
    shown = dict(line_figures.rows({"id": "hk1"}, {"hk1": QUIET}, NOW))
    unknown = {name for name, value in shown.items() if value == word}
    assert unknown == {
        "Round trip (probes)", "Round trip (flows)", "Loss (probes)", "Sent again (flows)", "Open flows",
        "Drift repairs", "Dropped by the kill switch", "Without a free port",
    }  # fmt: skip
    assert shown["Bytes out"] == 0, "no byte is a figure too"
