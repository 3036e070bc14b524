"""The README's table of what programs show is the one that the tests with real clients hold them to."""

from pathlib import Path

from tests.acceptance.programs import table


def test_the_readme_has_it() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert table() in readme, "python -m tests.acceptance.programs prints it"
