"""What holds for all tests: those marked `root` are skipped, and said to be, where the tests run as somebody else."""

import os

import pytest

os.environ.pop("COLUMNS", None)  # the command's output is a pipe's, as wide as its text, whoever runs the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
