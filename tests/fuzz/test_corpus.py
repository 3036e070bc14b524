"""Every input that fuzzing kept, and some changes of each, through its target: what was found once stays found."""

import random

import pytest

from tests.fuzz import corpus, run
from tests.fuzz.targets import TARGETS


def test_every_target_has_a_corpus_and_a_command() -> None:
    assert sorted(TARGETS) == sorted(run.NAMES)
    assert sorted(file.stem for file in corpus.DIRECTORY.iterdir()) == sorted(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_has_one_reading(name: str) -> None:
    kept = corpus.load(name)
    assert len(kept) > 5
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_so_have_changes_of_it(name: str) -> None:
    kept, chance = corpus.load(name), random.Random(name)
    for data in kept:
        for _ in range(10):
            TARGETS[name](run.mutated(data, kept, chance))
