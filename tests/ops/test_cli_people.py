"""Four eyes at the command line, against a real control process: three administrators, their first login, a request."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli import keyfile
from ops.cli.main import run
from tenants.factor import STEP, code_at
from tests.ops.test_cli_control import CONFIG

PASSPHRASE, PASSWORD = "correct horse battery", "staple of the zone 17"
ROLES = {"sys": "system-administrator", "sec": "security-administrator", "aud": "audit-administrator"}


class Person:
    """Somebody at a machine of their own: keys and logins in a directory of their own."""

    def __init__(self, name: str, root: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.name, self.home = name, root / name
        self._config, self._capture, self._patch = root / "feiyu.yaml", capture, patch
        self._secret = ""
        self.out = self.err = ""
        self.home.mkdir(exist_ok=True)
        (self.home / "passphrase").write_text(f"{PASSPHRASE} {name}\n")
        (self.home / "password").write_text(f"{PASSWORD}\n")

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """stdout of a call that must end with this exit status."""
        self._patch.setenv("FEIYU_HOME", str(self.home))
        self._capture.readouterr()
        status = run([*arguments, "--config", str(self._config), "--no-input"])
        self.out, self.err = self._capture.readouterr()
        assert status == code, (arguments, self.out, self.err)
        return self.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        """stdout of a call, parsed."""
        return json.loads(self(*arguments, "-o", "json", code=code))

    def files(self, *names: str) -> list[str]:
        """The options that name the files with this person's secrets."""
        return [word for name in names for word in (f"--{name}-file", str(self.home / name))]

    def key(self) -> str:
        """Makes the key, by a login that nobody knows yet; the public side."""
        self("login", self.name, *self.files("passphrase", "password"), code=3)
        return keyfile.path_of(self.name).with_suffix(".pub").read_text().strip()

    def log_in(self, code: int = 0) -> None:
        """Sets the factors where need be, then logs in with a code that was not used yet."""
        kept = self.home / "secret"
        if not kept.exists():
            made = self.json("login", self.name, *self.files("passphrase", "password"), code=3)
            kept.write_text(made["secret"])
        (self.home / "code").write_text(code_at(kept.read_text(), int(time.time()) // STEP))
        self("login", self.name, *self.files("passphrase", "password", "code"), code=code)

    def approve(self, request: str, code: int = 0, verb: str = "approve", *more: str) -> str:
        """Decides on what request show shows."""
        digest = self.json("request", "show", request)["digest"]
        return self("request", verb, request, "--digest", digest, *self.files("passphrase"), *more, code=code)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("FEIYU_SERVER", raising=False)
    monkeypatch.setattr(keyfile, "_N", 1 << 10)  # the passphrase's cost is not what is tested here
    (tmp_path / "feiyu.yaml").write_text(CONFIG.format(tmp_path))
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def people(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Person]]:
    """Those of ROLES and two more; the node was made with the first three and its control runs."""
    made = {name: Person(name, root, capsys, monkeypatch) for name in (*ROLES, "operator", "reviewer")}
    keys = {}
    for name, person in made.items():
        monkeypatch.setenv("FEIYU_HOME", str(person.home))
        keys[name] = keyfile.make(name, f"{PASSPHRASE} {name}")
    words = [word for name, role in ROLES.items() for word in (f"--{role}", name, f"{name} {name}", keys[name])]
    made["sys"]("init", *words)
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.control", "--config", str(root / "feiyu.yaml")], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while not (root / "run" / "control.sock").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def hired(people: dict[str, Person]) -> None:
    """Accounts for operator and reviewer, all logged in."""
    for name in ("sys", "sec"):
        people[name].log_in()
    for name, role in (("operator", "platform-operator"), ("reviewer", "zone-reviewer")):
        pub = people[name].home / "keys" / f"{name}.pub"
        words = ("account", "add", name, "--name", name, "--role", role, "--key", str(pub), "--reason", "hired")
        made = people["sys"].json(*words, code=3)
        people["sec"].approve(made["request"]["id"])
        people[name].log_in()


def test_a_change_waits_with_exit_3_and_is_in_force_once_another_person_signed(people: dict[str, Person]) -> None:
    hired(people)
    operator, reviewer = people["operator"], people["reviewer"]
    service = ("service", "add", "docs", "--host", "docs.example.com", "--reason", "request 31")
    told = operator(*service, code=3)
    found = re.fullmatch(r"request (r-\w{10}) waits for zone-reviewer · digest ([0-9a-f]{64})\n", told)
    assert found, told
    request = found[1]
    assert request in reviewer("request", "list", "--waiting-for", "me")
    assert operator("request", "list", "--waiting-for", "me") == ""
    shown = reviewer("request", "show", request)
    assert "add services/docs" in shown
    assert '"target": "docs.example.com"' in shown
    operator.approve(request, 6)
    assert "waits for" in operator.err
    assert operator.json("service", "list") == []
    said = reviewer.approve(request)
    assert f"request {request} approved · revision 4" in said
    assert operator.json("service", "show", "docs")["provenance"]["origin"] == "approved"
    operator("deny", "add", "bad.example", "--reason", "incident 4")
    assert "marked direct" in operator.out


def test_policy_files_wait_with_exit_3_and_are_in_force_once_another_person_signed(
    people: dict[str, Person], root: Path
) -> None:
    hired(people)
    operator, reviewer = people["operator"], people["reviewer"]
    path = root / "policy.yaml"
    path.write_text(
        "feiyu: policy/1\n\nservices:\n  - {id: docs, name: Docs, endpoints: [tls://docs.example.com:443]}\n"
    )
    seen = str(operator.json("policy", "plan", str(path))["revision"])
    words = ("policy", "apply", str(path), "--if-match", seen, "--reason", "request 31")
    told = operator(*words, code=3)
    found = re.fullmatch(r"request (r-\w{10}) waits for zone-reviewer · digest ([0-9a-f]{64})\n", told)
    assert found, told
    assert "1 to add" in operator.err
    operator("policy", "diff", str(path), code=1)
    reviewer.approve(found[1])
    operator("policy", "diff", str(path))
    operator(*words, code=4)
    back = ("policy", "rollback", seen, "--if-match", str(int(seen) + 1), "--reason", "incident 4")
    assert "marked approved" in operator(*back)  # a retired service opens nothing


def test_a_request_is_rejected_with_a_reason_and_withdrawn_by_its_submitter(people: dict[str, Person]) -> None:
    hired(people)
    operator, reviewer = people["operator"], people["reviewer"]
    names = []
    for name in ("one", "two"):
        words = ("service", "add", name, "--host", f"{name}.example", "--reason", "x")
        names.append(operator.json(*words, code=3)["request"]["id"])
    reviewer.approve(names[0], 0, "reject", "--reason", "no contract")
    assert "reject · reviewer (zone-reviewer)" in operator("request", "show", names[0])
    assert "no contract" in operator.out
    operator("request", "withdraw", names[1], "--reason", "mistaken")
    reviewer("request", "approve", names[1], "--digest", "0" * 64, *reviewer.files("passphrase"), code=4)
    reviewer.approve(names[1], 1)
    assert "it is WITHDRAWN" in reviewer.err


def test_without_a_login_nothing_is_read_or_written(people: dict[str, Person]) -> None:
    people["operator"]("tenant", "list", code=6)
    assert "nobody is logged in here" in people["operator"].err
    people["operator"]("deny", "add", "x.example", "--reason", "x", code=6)
    people["operator"]("status", code=0)


def test_whoami_and_logout(people: dict[str, Person]) -> None:
    sys_ = people["sys"]
    sys_.log_in()
    told = sys_.json("whoami")
    assert (told["account"]["id"], told["account"]["roles"]) == ("sys", ["system-administrator"])
    sys_("tenant", "list", code=6)
    assert "may not GET /v1/tenants" in sys_.err
    sys_("logout")
    sys_("whoami", code=6)


def test_a_code_is_good_once_and_five_wrong_ones_lock_the_account(people: dict[str, Person]) -> None:
    sys_ = people["sys"]
    sys_.log_in()
    sys_("login", "sys", *sys_.files("passphrase", "password", "code"), code=6)
    (sys_.home / "code").write_text("000000")
    for _ in range(4):
        sys_("login", "sys", *sys_.files("passphrase", "password", "code"), code=6)
    sys_("login", "sys", *sys_.files("passphrase", "password", "code"), code=6)
    assert "is locked for" in sys_.err
    people["sec"].log_in()
    people["sec"]("account", "factor", "sys", "--reason", "phone lost")
    (sys_.home / "secret").unlink()
    sys_.log_in()


def test_a_wrong_passphrase_signs_nothing(people: dict[str, Person]) -> None:
    hired(people)
    made = people["operator"].json("service", "add", "s", "--host", "s.example", "--reason", "x", code=3)
    (people["reviewer"].home / "passphrase").write_text("wrong")
    people["reviewer"].approve(made["request"]["id"], 6)
    assert "does not open" in people["reviewer"].err


def test_a_key_that_nobody_knows_is_told_how_to_be_known(people: dict[str, Person], root: Path) -> None:
    stranger = people["operator"]
    stranger("login", "operator", *stranger.files("passphrase", "password"), code=3)
    assert "there is no account operator yet" in stranger.err
    assert "feiyu account add operator" in stranger.err


def test_a_key_is_sealed_and_nobody_else_can_read_it(people: dict[str, Person]) -> None:
    path = people["sys"].home / "keys" / "sys.key"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = json.loads(path.read_text())
    assert set(kept) == {"v", "account", "public", "n", "r", "p", "salt", "nonce", "sealed"}
    swapped = {**kept, "public": "0" * 64}
    path.write_text(json.dumps(swapped))
    people["sys"]("login", "sys", *people["sys"].files("passphrase", "password"), code=6)


@pytest.mark.parametrize("missing", ROLES)
def test_two_administrators_do_not_make_a_zone(
    missing: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person("sys", root, capsys, monkeypatch)
    words = [w for n, r in ROLES.items() if n != missing for w in (f"--{r}", n, n, f"{len(n)}{n[0]}".ljust(64, "a"))]
    words = [word.replace("s", "5") if len(word) == 64 else word for word in words]
    person("init", *words, code=2)
    assert f"--{ROLES[missing]} is missing" in person.err
    assert not (root / "state" / "register.db").exists()
