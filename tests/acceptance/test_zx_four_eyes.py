"""A whole node with accounts and a notary: curl gets through once a second person has signed, and not before."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops import processes
from ops.cli import keyfile
from ops.demo.register import fill
from ops.demo.stage import Stage
from ops.demo.world import CODE, PREFIXES, SEARCH, VIDEO
from tenants.accounts import Role
from tenants.factor import STEP, code_at

pytestmark = pytest.mark.root
STAFF = {
    "sys": Role.SYSTEM_ADMINISTRATOR, "sec": Role.SECURITY_ADMINISTRATOR, "aud": Role.AUDIT_ADMINISTRATOR,
    "operator": Role.PLATFORM_OPERATOR, "reviewer": Role.ZONE_REVIEWER,
}  # fmt: skip
PASSWORD = "staple of the zone 17"

# What control can do with all that it has: its register, its key, its files.
FORGE = """
import sys, time
from pathlib import Path
from tenants.change import Change
from tenants.model import Origin
from whitelist.store import open_register
state = Path(sys.argv[1])
register = open_register(state / "register.db", create=False)
fields = {"subject": "tenant:acme", "object": "service:code", "lines": ["hk1"],
          "window": {"valid_from": 1, "valid_until": 4_000_000_000}}
now = int(time.time())
with register.store.transaction(write=True) as connection:
    made = register.perform(connection, [Change(collection="grants", verb="add", id="g-own", fields=fields)],
                            "operator", "x", now, Origin.APPROVED)
    register.record(connection, made, "operator", "x", now)
"""


class Office:
    """The stage, and people at it with a directory each."""

    def __init__(self, stage: Stage, patch: pytest.MonkeyPatch) -> None:
        self.stage = stage
        self.public: dict[str, str] = {}
        for name in STAFF:
            home = self.home(name)
            home.mkdir()
            (home / "passphrase").write_text(f"correct horse {name}")
            (home / "password").write_text(PASSWORD)
            patch.setenv("FEIYU_HOME", str(home))
            self.public[name] = keyfile.make(name, f"correct horse {name}")

    def home(self, name: str) -> Path:
        return self.stage.directory / f"home-{name}"

    def feiyu(self, name: str, *arguments: str, code: int = 0) -> Any:
        """What the command says in JSON to a person."""
        done = subprocess.run(
            processes.module("ops.cli.main", *arguments, "-o", "json", "--no-input"),
            env=self.stage.environment() | {"FEIYU_HOME": str(self.home(name))},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def files(self, name: str, *which: str) -> list[str]:
        return [word for one in which for word in (f"--{one}-file", str(self.home(name) / one))]

    def log_in(self, name: str) -> None:
        secret = self.feiyu(name, "login", name, *self.files(name, "passphrase", "password"), code=3)["secret"]
        (self.home(name) / "code").write_text(code_at(secret, int(time.time()) // STEP))
        self.feiyu(name, "login", name, *self.files(name, "passphrase", "password", "code"))

    def both(self, one: str, other: str, *arguments: str) -> Any:
        """A change that one asks for and the other approves."""
        asked = self.feiyu(one, *arguments, "--reason", "a test", code=3)["request"]
        digest = self.feiyu(other, "request", "show", asked["id"])["digest"]
        words = ("request", "approve", asked["id"], "--digest", digest, *self.files(other, "passphrase"))
        return self.feiyu(other, *words)


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """A node that one person filled, that was given accounts then, and that demands approvals since."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with Stage("fyq") as stage:
        stage.write_config(stage.settings())
        made = stage.feiyu("init")
        assert made.returncode == 0, made.stderr
        stage.start()
        fill(stage, lambda _command, _said: None)
        assert stage.stop() == 0, stage.last_words()
        people = Office(stage, monkeypatch)
        named = [w for n in ("sys", "sec", "aud") for w in (f"--{STAFF[n]}", n, f"{n} {n}", people.public[n])]
        zone = people.feiyu("sys", "init", "--complete", *named)["zone"]
        stage.write_config(msgspec.structs.replace(stage.settings(), zone=zone))
        stage.start()
        for name in ("sys", "sec"):
            people.log_in(name)
        for name in ("operator", "reviewer"):
            words = ("--name", name, "--role", STAFF[name], "--key", people.public[name])
            people.both("sys", "sec", "account", "add", name, *words)
            people.log_in(name)
        yield people


@pytest.mark.timeout(400)
def test_two_people_open_one_person_closes_and_control_by_itself_opens_nothing(office: Office) -> None:
    stage = office.stage
    acme = stage.clients["acme"]
    assert stage.is_line("hk1", "up"), stage.last_words()
    assert acme.curl(f"https://{SEARCH}/").status_line.startswith("HTTP/1.1 200")
    assert "403" in acme.curl(f"https://{VIDEO}/").status_line
    special = [word for prefix in PREFIXES for word in ("--special-prefix", prefix)]
    office.both("operator", "reviewer", "service", "add", "video", "--endpoint", f"tls://{VIDEO}:443", *special)
    to = ("--tenant", "acme", "--service", "video", "--line", "hk1", "--for", "1d")
    words = ("grant", "add", "--id", "g-video", *to)
    asked = office.feiyu("operator", *words, "--reason", "a test", code=3)["request"]["id"]
    assert "403" in acme.curl(f"https://{VIDEO}/").status_line, "it waits"
    digest = office.feiyu("reviewer", "request", "show", asked)["digest"]
    sign = ("request", "approve", asked, "--digest", digest, *office.files("reviewer", "passphrase"))
    answer = office.feiyu("reviewer", *sign)
    assert sum(name.startswith("w") for name in answer["enforced"]["acked"]) == 2
    assert acme.curl(f"https://{VIDEO}/").status_line.startswith("HTTP/1.1 200")
    office.feiyu("reviewer", "grant", "suspend", "g-video", "--reason", "one person")
    assert "403" in acme.curl(f"https://{VIDEO}/").status_line
    done = stage.feiyu("grant", "list")
    assert done.returncode == 6, "root without a login reads nothing"
    office.both("operator", "reviewer", "request", "bootstrap", "grants")
    assert office.feiyu("operator", "grant", "show", "g-search")["provenance"]["origin"] == "approved"
    assert acme.curl(f"https://{SEARCH}/").status_line.startswith("HTTP/1.1 200")
    office.log_in("aud")
    acts = office.feiyu("aud", "audit", "verify")
    assert (acts["broken"], acts["differ"]) == ("", 0)
    if stage.settings().users.base:
        admitted = stage.directory / "state" / "notary" / "admitted"
        assert admitted.stat().st_uid == stage.settings().users.notary
    assert {child["name"] for child in stage.liveness()["children"]} >= {"notary", "control", "w0", "w1"}
    # what control puts in by itself reaches no worker
    own = stage.environment()
    done = subprocess.run(
        [*processes.module("ops.cli.main")[:1], "-c", FORGE, str(stage.directory / "state")],
        env=own, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stage.wait(lambda: "nobody approved it" in stage.control("/v1/status")["trouble"], "control does not see it", 25)
    assert "403" in acme.curl(f"https://{CODE}/").status_line
    refused = [r for r in stage_records(office) if "refused revision" in r.get("detail", "")]
    assert refused, "the notary wrote it down"


def stage_records(office: Office) -> list[dict[str, Any]]:
    """Records of acts, as the audit administrator reads them."""
    deadline = time.monotonic() + 5
    while True:
        found = office.feiyu("aud", "log", "search", "--kind", "action", "--limit", "100")
        if any("refused revision" in one.get("detail", "") for one in found) or time.monotonic() > deadline:
            return list(found)
        time.sleep(0.2)
