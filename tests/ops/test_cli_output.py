"""Data is readable at every width, in every form, and never steers a terminal."""

import csv
import io
import json

import pytest
import yaml
from rich.cells import cell_len
from rich.console import Console

from ops.cli import output, words
from ops.cli.flow import age, size
from ops.cli.grant import hours_text
from ops.cli.output import Column, field

NASTY = "a\x1b[31m\x07\x9b2J\u202eevil\u200b\r\nb\x7f"
COLUMNS = [
    field("ID", "id"),
    field("NAME", "name", wide=True),
    field("STATE", "state"),
    Column("PLACES", lambda item: item["places"], wide=True),
]
ITEMS = [
    {
        "id": "acme",
        "name": "Acme International Trading Company of Lin-gang Limited",
        "state": "ACTIVE",
        "places": [f"acc{n} 10.{n}.0.0/24" for n in range(6)],
    },
    {
        "id": "feiyu-zhongguo-shuju-youxian-gongsi",
        "name": "飞鱼国际数据服务（上海）有限公司临港新片区分公司",
        "state": "SUSPENDED",
        "places": [],
    },
]


def rendered(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False, markup=False)
    console.print(output.table(COLUMNS, ITEMS, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_table_has_one_line_for_each_item_and_fits(width: int, language: str) -> None:
    words.use(language)
    try:
        lines = rendered(width)
    finally:
        words.use("en")
    assert len(lines) == 1 + len(ITEMS)
    assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_narrow_columns_are_whole_where_wide_ones_can_give_way(width: int) -> None:
    lines = rendered(width)
    assert "SUSPENDED" in lines[2]
    assert "feiyu-zhongguo-shuju-youxian-gongsi" in lines[2]


def test_columns_line_up_with_wide_characters() -> None:
    lines = rendered(120)
    starts = {
        cell_len(line[: line.index(word)]) for line, word in zip(lines, ("STATE", "ACTIVE", "SUSPENDED"), strict=True)
    }
    assert len(starts) == 1


def test_no_character_steers_the_terminal_in_any_form() -> None:
    item = {"id": NASTY, "name": [NASTY], "state": {NASTY: NASTY}, "places": []}
    console = Console(file=io.StringIO(), width=400, no_color=True, highlight=False, markup=False)
    console.print(output.table(COLUMNS, [item], 400))
    console.print(output.details([("ID", NASTY), ("Places", [NASTY])]))
    assert isinstance(console.file, io.StringIO)
    forms = {
        "table": console.file.getvalue(),
        "json": output.as_json(item),
        "yaml": output.as_yaml(item),
        "csv": output.as_csv(COLUMNS, [item]),
        "message": output.escape_lines(NASTY),
    }
    for name, text in forms.items():
        left = {character for character in text if output.escape(character) != character} - {"\n"}
        assert not left, name


def test_escaped_json_and_yaml_are_still_the_same_value() -> None:
    item = {"id": NASTY, "名称": "飞鱼"}
    assert json.loads(output.as_json(item)) == item
    assert yaml.safe_load(output.as_yaml(item)) == item
    assert "飞鱼" in output.as_json(item)
    assert "\n" not in output.as_json(item, indent=None)


def test_csv_is_read_back_and_keeps_its_english_headings_in_chinese() -> None:
    words.use("zh")
    try:
        text = output.as_csv(COLUMNS, ITEMS)
    finally:
        words.use("en")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == [item["id"] for item in ITEMS]
    assert rows[0]["places"].startswith("acc0 10.0.0.0/24, acc1")
    assert rows[1]["name"] == ITEMS[1]["name"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (123_456, "123k"), (5_000_000, "5.0M"), (10**15, "1000T")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (42, "42s"), (190, "3m10s"), (18_120, "5h02m"), (1_051_200, "12d04h")]
)
def test_ages(seconds: int, text: str) -> None:
    assert age(seconds) == text


OFFICE = {"weekdays": [0, 4], "start_minute": 480, "end_minute": 1200}


@pytest.mark.parametrize(
    ("window", "text"),
    [
        pytest.param({}, "", id="always"),
        pytest.param(OFFICE, "mon,fri 08:00-20:00", id="office hours"),
        pytest.param({"end_minute": 600, "utc_offset_minutes": 0}, "00:00-10:00 UTC+0:00", id="another zone"),
    ],
)
def test_windows(window: dict[str, object], text: str) -> None:
    assert hours_text(window) == text
