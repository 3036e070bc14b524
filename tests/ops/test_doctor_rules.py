"""What feiyu check says of detection rules."""

from pathlib import Path

import msgspec
import pytest

from ops.doctor.finding import Level
from ops.doctor.rules import examine
from ops.settings import Rules, Settings

SOUND = """title: a
id: 6c1c9c1a-6f0b-4a52-8a86-000000000001
logsource: {category: proxy}
detection: {s: {cs-host: a.example}, condition: s}
"""
NODE = Settings(node="gw1", listeners=())


@pytest.mark.parametrize(
    ("sentence", "rules", "text", "level", "said"),
    [
        ("the starter pack", Rules(), "", Level.OK, "rules, they only tell; 2 can never fire: feiyu rule lint"),
        ("rules that act", Rules(pack="none", action="act"), SOUND, Level.OK, "1 rules, they may act"),
        ("no rules", Rules(pack="none"), "", Level.WARN, "there are none"),
        (
            "a rule with a mistake",
            Rules(pack="none"),
            SOUND.replace("cs-", "cx-"),
            Level.FAIL,
            "a.yml:4: unknown field",
        ),
        (
            "a file that is not there",
            Rules(pack="none", paths=("/nonexistent/x.yml",)),
            "",
            Level.FAIL,
            "cannot be read",
        ),
    ],
)
def test_check(sentence: str, rules: Rules, text: str, level: Level, said: str, tmp_path: Path) -> None:
    if text:
        (tmp_path / "a.yml").write_text(text)
        rules = msgspec.structs.replace(rules, paths=(str(tmp_path),))
    (found,) = examine(msgspec.structs.replace(NODE, rules=rules))
    assert found.level is level, sentence
    assert said in str(found), sentence
