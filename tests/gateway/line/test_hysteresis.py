"""What rounds of probes and the kernel's word make of a line's state: tables of what happened, second by second."""

import pytest

from gateway.clock import zone_time
from gateway.config import Health
from gateway.line.hysteresis import LineHealth

RULES = Health(failures=3, successes=2, hold_down=10, hold_down_max=35, flaps=3, flap_window=300)
UP, DOWN = ("kernel", "up"), ("kernel", "down")
GOOD, BAD, HALF = ("probes", "11"), ("probes", "00"), ("probes", "01")
SLOW, FINE, SILENT = ("flows", "slow"), ("flows", ""), ("flows", None)
NOTHING = ("wait", "")

# sentence: what happens in each second from 0, and the state after the last of them
HISTORIES: dict[str, tuple[list[tuple[str, str | None]], str]] = {
    "a line without probes goes by the kernel": ([UP], "up"),
    "a line that the kernel has down is down at once": ([UP, GOOD, DOWN], "down"),
    "two lost rounds are not yet three": ([UP, BAD, BAD], "up"),
    "three lost rounds are a dead line": ([UP, BAD, BAD, BAD], "down"),
    "lost rounds must follow each other": ([UP, BAD, BAD, GOOD, BAD, BAD], "up"),
    "one answered round does not revive a line": ([UP, BAD, BAD, BAD, GOOD], "down"),
    "two do": ([UP, BAD, BAD, BAD, GOOD, GOOD], "up"),
    "two with a lost one between do not": ([UP, BAD, BAD, BAD, GOOD, BAD, GOOD], "down"),
    "one probe of two lost is degraded after three rounds": ([UP, HALF, HALF, HALF], "degraded"),
    "and not before": ([UP, HALF, HALF], "up"),
    "degraded ends after two whole rounds": ([UP, HALF, HALF, HALF, GOOD, GOOD], "up"),
    "a dead line of which one probe answers again is degraded": ([UP, BAD, BAD, BAD, HALF, HALF], "degraded"),
    "a bounce of the link does not revive a line whose probes are lost": ([UP, BAD, BAD, BAD, DOWN, UP], "down"),
    "answered probes do, after the bounce too": ([UP, BAD, BAD, BAD, DOWN, UP, GOOD, GOOD], "up"),
    "rounds lost before a bounce do not count after it": ([UP, BAD, BAD, DOWN, UP, BAD, BAD], "up"),
    "a link that comes back twice is up": ([UP, DOWN, UP, DOWN, UP], "up"),
    "the third time it is held down": ([UP, DOWN, UP, DOWN, UP, DOWN, UP], "down"),
    "for ten seconds": ([UP, DOWN, UP, DOWN, UP, DOWN, UP, *[NOTHING] * 8], "down"),
    "and no longer": ([UP, DOWN, UP, DOWN, UP, DOWN, UP, *[NOTHING] * 9], "up"),
    "the fourth time for twenty": ([UP, *[DOWN, UP] * 3, DOWN, UP, *[NOTHING] * 17], "down"),
    "and then no longer": ([UP, *[DOWN, UP] * 3, DOWN, UP, *[NOTHING] * 19], "up"),
    "never longer than the most": ([UP, *[DOWN, UP] * 9, *[NOTHING] * 34], "up"),
    "flows that complain in two periods are not yet heeded": ([UP, SLOW, SLOW], "up"),
    "in three they make it degraded": ([UP, SLOW, SLOW, SLOW], "degraded"),
    "and never down": ([UP, *[SLOW] * 50], "degraded"),
    "complaints must follow each other": ([UP, SLOW, SLOW, FINE, SLOW, SLOW], "up"),
    "one good period is not enough": ([UP, SLOW, SLOW, SLOW, FINE], "degraded"),
    "two are": ([UP, SLOW, SLOW, SLOW, FINE, FINE], "up"),
    "silence changes nothing at first": ([UP, SLOW, SLOW, SLOW, *[SILENT] * 34], "degraded"),
    "a line without flows is tried again": ([UP, SLOW, SLOW, SLOW, *[SILENT] * 35], "up"),
    "flows that were cut complain no more": ([UP, SLOW, SLOW, SLOW, DOWN, UP], "up"),
    "probes that fail are worse than slow flows": ([UP, SLOW, SLOW, SLOW, BAD, BAD, BAD], "down"),
    "content flows do not excuse lost probes": ([UP, HALF, HALF, HALF, FINE, FINE, FINE], "degraded"),
    "what is long ago counts no more": ([UP, DOWN, UP, DOWN, UP, *[NOTHING] * 300, DOWN, UP], "up"),
}


@pytest.mark.parametrize("sentence", HISTORIES)
def test_the_state_when(sentence: str) -> None:
    history, wanted = HISTORIES[sentence]
    health = LineHealth(RULES)
    for second, (what, word) in enumerate(history):
        if what == "kernel":
            assert word
            health.told(word, f"the kernel says {word}", second)
        elif what == "flows":
            health.heard(word and "round trips are slow", second)
        elif what == "probes":
            assert word
            health.probed(
                [(answer == "1", "" if answer == "1" else "tcp://192.0.2.9:1: lost") for answer in word], second
            )
    state, why = health.state(len(history) - 1)
    assert state == wanted
    if state != "up":
        assert any(words in why for words in ("lost", "kernel says down", "times of late", "slow"))


def test_a_line_nobody_has_looked_at_is_down() -> None:
    assert LineHealth(RULES).state(0)[0] == "down"


def test_a_link_that_bounces_in_one_instant_went_down_once() -> None:
    health = LineHealth(RULES)
    for tenth in range(10):
        health.told("up", "", tenth / 10)
        health.told("down", "no carrier", tenth / 10 + 0.05)
    health.told("up", "", 1.0)
    assert health.state(1.0)[0] == "up"
    assert len(health.downs) == 1


PROBED, PLAIN = True, False
# sentence: how it stood and whether it has probes, what happens, the state after, and why
BEGINNINGS: dict[str, tuple[str, bool, list[tuple[str, str]], str, str]] = {
    "that was up is up, so that a restart refuses nobody": ("up", PROBED, [UP], "up", ""),
    "that was up and died meanwhile is down after three lost rounds": (
        "up",
        PROBED,
        [UP, BAD, BAD, BAD],
        "down",
        "lost",
    ),
    "that was dead is down, whatever its link says": (
        "down",
        PROBED,
        [UP],
        "down",
        "it was down before",
    ),
    "that was dead stays so with one answer": (
        "down",
        PROBED,
        [UP, GOOD],
        "down",
        "it was down before",
    ),
    "that was dead is up after as many answers as ever": ("down", PROBED, [UP, GOOD, GOOD], "up", ""),
    "that was degraded is so": ("degraded", PROBED, [UP], "degraded", "it was degraded before"),
    "that was degraded is up after two whole rounds": ("degraded", PROBED, [UP, GOOD, GOOD], "up", ""),
    "that nobody knows is not used": ("", PROBED, [UP], "down", "not yet answered"),
    "that nobody knows is up with its first answer": ("", PROBED, [UP, HALF], "up", ""),
    "that nobody knows is down with its first lost round": ("", PROBED, [UP, BAD], "down", "lost"),
    "that nobody knows and was lost first needs two answers": ("", PROBED, [UP, BAD, GOOD], "down", "lost"),
    "and has them": ("", PROBED, [UP, BAD, GOOD, GOOD], "up", ""),
    "that drained says nothing of its probes": ("draining", PROBED, [UP], "down", "not yet answered"),
    "without probes goes by the kernel, even if it was down": ("down", PLAIN, [UP], "up", ""),
    "without probes that nobody knows does too": ("", PLAIN, [UP], "up", ""),
    "that its flows had made degraded is so": (
        "degraded",
        PLAIN,
        [UP],
        "degraded",
        "it was degraded before",
    ),
}


def test_a_line_that_was_down_for_another_reason_is_not_said_to_lack_answers_before_a_round_is_lost() -> None:
    health = LineHealth(RULES)
    health.begin("down", 0, probed=True)
    health.told("up", "", 0)
    began = "it was down before this lines process began: 2 rounds of its probes must be answered"
    assert health.state(0) == ("down", f"{began}, 0 are")
    health.probed([(True, "")], 1)
    assert health.state(1) == ("down", f"{began}, 1 are")
    health.probed([(False, "192.0.2.9: lost")], 2)
    assert health.state(2) == ("down", "no probe is answered: 192.0.2.9: lost")


def test_a_line_that_is_held_down_says_until_when_by_the_zones_clock() -> None:
    health = LineHealth(RULES, ahead=1_800_000_000)
    for second, (_, word) in enumerate([UP, DOWN, UP, DOWN, UP, DOWN, UP]):
        health.told(word, "", 10 * second)
    until = zone_time(1_800_000_000 + health.held_until)
    assert health.state(55)[1] == f"it went down 3 times of late: held down until {until}"
    assert until.endswith("+08:00")


@pytest.mark.parametrize("sentence", BEGINNINGS)
def test_at_the_start_of_the_process_a_line(sentence: str) -> None:
    stood, probed, history, wanted, reason = BEGINNINGS[sentence]
    health = LineHealth(RULES)
    health.begin(stood, 0, probed=probed)
    for second, (what, word) in enumerate(history):
        if what == "kernel":
            health.told(word, "", second)
        else:
            health.probed([(answer == "1", "lost") for answer in word], second)
    state, why = health.state(len(history) - 1)
    assert state == wanted
    assert reason in why


def test_a_line_whose_probes_were_taken_away_goes_by_the_kernel() -> None:
    health = LineHealth(RULES)
    health.begin("down", 0, probed=True)
    health.told("up", "", 0)
    health.unprobed()
    assert health.state(1) == ("up", "")
