"""What the link decides without a network: which gateway, when to renew, what programs may say and people hear."""

import base64
from pathlib import Path

import pytest

from ops.link import denials, doctor, local, words
from ops.link.enrolling import settings_of
from ops.link.error import LinkError
from ops.link.files import Files, Settings, default_directory
from ops.link.gateways import FIRST, LONGEST, Gateways
from ops.link.identity import Identity
from ops.link.pin import fingerprint, split
from ops.link.renewal import LATE, SOON, retry_after


def test_a_gateway_that_failed_comes_last_until_it_was_found_well() -> None:
    found = Gateways(["a", "b", "c"])
    assert found.order() == ["a", "b", "c"]
    found.failed("a", 0.0, 0.5)
    assert found.order() == ["b", "c", "a"]
    assert found.to_probe(FIRST - 0.01) == []
    assert found.to_probe(FIRST) == ["a"]
    found.failed("a", 10.0, 0.5)
    assert found.to_probe(10 + 2 * FIRST - 0.01) == []
    found.failed("b", 10.0, 0.5)
    assert found.order() == ["c", "b", "a"]  # whose turn is first
    found.failed("c", 10.0, 0.5)
    assert sorted(found.order()) == ["a", "b", "c"]  # with none well, all are tried
    found.worked("a")
    assert found.order()[0] == "a"
    for _ in range(40):
        found.failed("b", 100.0, 1.0)
    assert found.to_probe(100 + LONGEST * 1.25) == ["b", "c"]


LIFE = Identity("acme", "c-0000000001", 1_000_000, 1_000_000 + 604_800, "")
RETRIES = {
    "the first after a minute": (1, 200_000.0, SOON),
    "then two": (2, 200_000.0, 2 * SOON),
    "an hour at most": (20, 200_000.0, LATE),
    "sooner where little is left": (5, 100.0, 10.0),
    "not more often than each second": (1, 1.0, 1.0),
    "an expired one is tried on": (20, -5.0, LATE),
}


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_or_a_little_earlier() -> None:
    assert LIFE.renews_at() == 1_000_000 + 403_200
    assert LIFE.renews_at(1.0) == 1_000_000 + 403_200 - 30_240


@pytest.mark.parametrize("case", RETRIES)
def test_a_renewal_that_failed_is_tried_again(case: str) -> None:
    failures, left, wanted = RETRIES[case]
    assert retry_after(failures, left) == wanted


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


HEAD = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"
LOCAL = {
    "the right token is taken out": (f"{HEAD}Proxy-Authorization: {basic('link:T')}\r\n\r\nmore", f"{HEAD}\r\nmore"),
    "in any case": (f"{HEAD}proxy-AUTHORIZATION:{basic('link:T')} \r\nA: b\r\n\r\n", f"{HEAD}A: b\r\n\r\n"),
    "none": (f"{HEAD}\r\n", None),
    "a wrong one": (f"{HEAD}Proxy-Authorization: {basic('link:t')}\r\n\r\n", None),
    "another user": (f"{HEAD}Proxy-Authorization: {basic('x:T')}\r\n\r\n", None),
    "another scheme": (f"{HEAD}Proxy-Authorization: Bearer T\r\n\r\n", None),
    "no base64": (f"{HEAD}Proxy-Authorization: Basic link:T\r\n\r\n", None),
    "one behind the head's end": (f"{HEAD}\r\nProxy-Authorization: {basic('link:T')}\r\n\r\n", None),
    "a head that is not whole": (f"{HEAD}Proxy-Authorization: {basic('link:T')}\r\n", None),
}
TWICE = f"Proxy-Authorization: {basic('link:T')}\r\n" * 2
LOCAL["two"] = (f"{HEAD}{TWICE}\r\n", None)


@pytest.mark.parametrize("case", LOCAL)
def test_a_local_token_is_looked_at_and_goes_no_further(case: str) -> None:
    head, wanted = LOCAL[case]
    assert local.shown(head.encode(), "T") == (None if wanted is None else wanted.encode())


PAGE = {
    "refusals": [
        {"at": "2026-11-25 18:47:21 UTC+8", "host": "b.example", "port": 443, "reason": "not-whitelisted", "ref": "R1",
         "credential": "c-1", "text": {"zh": "不在", "en": "not on it"}},
        {"at": "x", "reason": "identity-unknown", "ref": "R2", "credential": "c-2", "text": None},
        "damaged",
    ]
}  # fmt: skip


def test_denials_are_told_in_the_language_in_use_and_move_no_cursor() -> None:
    assert [one["ref"] for one in denials.rows(PAGE)] == ["R1", "R2"]
    assert [one["ref"] for one in denials.rows(PAGE, mine="c-1")] == ["R1"]
    text = denials.told(PAGE, denials.rows(PAGE), "feiyu.zone")
    assert "b.example:443\n    not on it (not-whitelisted)\n    Reference R1  http://feiyu.zone/r/R1" in text
    words.use("zh")
    try:
        assert "不在 (not-whitelisted)\n    编号 R1" in denials.told(PAGE, denials.rows(PAGE), "feiyu.zone")
    finally:
        words.use("en")
    evil = {"refusals": [{"host": "a\x1b[2J\r", "port": 1, "ref": "R"}]}
    assert "\x1b" not in denials.told(evil, denials.rows(evil), "feiyu.zone")
    assert denials.told({"refusals": []}, [], "p") == "Nothing was refused in the last 30 days."
    assert "cannot look" in denials.told({"refusals": None}, [], "p")


CLOCKS = {"right": (0, "ok"), "a minute off": (60, "ok"), "too fast": (61, "bad"), "too slow": (-61, "bad")}


@pytest.mark.parametrize("case", CLOCKS)
def test_doctor_compares_the_clock_with_the_gateways(case: str) -> None:
    off, wanted = CLOCKS[case]
    found = doctor.clock(1_000_000 + off, 1_000_000)
    assert found.state == wanted
    assert bool(found.remedy) is (wanted != "ok")


FIRMS = {"active": ("ACTIVE", "ok"), "suspended": ("SUSPENDED", "bad"), "unknown": ("", "bad")}


@pytest.mark.parametrize("case", FIRMS)
def test_doctor_says_how_the_firm_stands(case: str) -> None:
    state, wanted = FIRMS[case]
    assert doctor.firm({"you": {"state": state, "tenant": "acme"}}).state == wanted


WRONG = {
    "a gateway without a port": ({"gateways": ["gw"]}, "is no HOST:PORT"),
    "a port that is none": ({"gateways": ["gw:99999"]}, "is no HOST:PORT"),
    "a fingerprint that is too short": ({"ca": "00"}, "64 hexadecimal digits"),
    "a listener for everybody": ({"listen": "0.0.0.0:3128"}, "can be reached from other machines"),
    "a listener under a name": ({"listen": "box.example:3128"}, "can be reached from other machines"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_do_is_said_before_anything_is_done(case: str) -> None:
    given, wanted = WRONG[case]
    fields = {"gateways": ["gw:1"], "ca": "0" * 64, "portal": "feiyu.zone", "listen": "127.0.0.1:3128"} | given
    with pytest.raises(LinkError, match=wanted):
        settings_of(**fields, with_token=False, anywhere=False)  # type: ignore[arg-type]


def test_other_machines_are_let_in_only_where_that_was_said_and_a_local_token_is_random() -> None:
    made = [settings_of(["gw:1"], "AB:" * 31 + "AB", "p", "0.0.0.0:1", with_token=True, anywhere=True) for _ in "ab"]
    assert made[0].ca == "ab" * 32 == fingerprint("ab" * 32)
    assert made[0].local_token != made[1].local_token
    assert len(made[0].local_token) == 32
    assert split("[2001:db8::1]:3129") == ("2001:db8::1", 3129)


PLACES = {
    "Linux": ("linux", {}, "/h/.config/feiyu-link"),
    "Linux with XDG": ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/feiyu-link"),
    "macOS": ("darwin", {}, "/h/Library/Application Support/feiyu-link"),
    "Windows": ("win32", {"LOCALAPPDATA": "/l"}, "/l/feiyu-link"),
    "named": ("win32", {"FEIYU_LINK_DIR": "/n"}, "/n"),
}


@pytest.mark.parametrize("case", PLACES)
def test_files_are_where_the_system_wants_them(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    platform, environ, wanted = PLACES[case]
    monkeypatch.setenv("HOME", "/h")
    assert default_directory(environ, platform) == Path(wanted)


def test_files_are_their_users_alone_and_replaced_whole(tmp_path: Path) -> None:
    files = Files(tmp_path / "machine")
    settings = Settings(("gw:1", "gw:2"), "0" * 64, local_token="T")
    files.keep_settings(settings)
    assert files.settings() == settings
    assert {p.stat().st_mode & 0o777 for p in files.directory.iterdir()} == {0o600}
    assert files.directory.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(LinkError, match="cannot be written"):
        Files(tmp_path / "file").keep_settings(settings)
    with pytest.raises(LinkError, match="not enrolled"):
        Files(tmp_path / "none").settings()
    (files.directory / "link.json").write_text('{"gateways": 1}')
    with pytest.raises(LinkError, match="cannot be read"):
        files.settings()
