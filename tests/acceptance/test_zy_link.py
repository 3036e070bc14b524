"""A firm's machine with feiyu link on a whole node: invited, enrolled, forwarding, renewed, revoked; real curl."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.config import Tls
from ops.demo.client import ENVIRONMENT, Client
from ops.demo.network import FIRMS, end
from ops.demo.world import SEARCH, VIDEO
from ops.link import archive
from ops.settings import Listener
from tests.acceptance.kit import CERTIFIED, SLOW, Node, ca_files
from tests.acceptance.test_zy_certificates import reload

pytestmark = pytest.mark.root

GATEWAY = FIRMS["acme"].near[4]
FIRST, SECOND = 3151, 3152  # two ways in, as two gateways would be
REASON = ("--reason", "a test")


@dataclass
class Machine:
    """A machine of a firm: the zipapp, and a directory of the link's own."""

    node: Node
    program: Path
    directory: Path
    firm: str = "acme"

    def link(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """One command, by the file alone: -I keeps this project out of its imports."""
        argv = [sys.executable, "-I", str(self.program), arguments[0], "--dir", str(self.directory), *arguments[1:]]
        return self.node.stage.zone.run(FIRMS[self.firm].ns, argv, 60, input=f"{token}\n", env=ENVIRONMENT)

    def enrol(self, invite: dict[str, Any], *more: str, ca: str = "") -> subprocess.CompletedProcess[str]:
        gateways = ("--gateway", f"{GATEWAY}:{FIRST}", "--gateway", f"{GATEWAY}:{SECOND}")
        return self.link("enrol", *gateways, "--ca", ca or invite["root_sha256"], *more, token=invite["token"])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("link") / archive.NAME
    archive.write(path)
    return path


@pytest.fixture(scope="module")
def two_ways(session_node: Node) -> Iterator[Node]:
    """The node with a CA and two listeners that demand certificates; its configuration is put back."""
    stage = session_node.stage
    files = ca_files(stage)
    before = stage.settings()
    reload(
        session_node, msgspec.structs.replace(before, listeners=(*before.listeners, *listeners(files, FIRST, SECOND)))
    )
    yield session_node
    reload(session_node, before)


def listeners(files: Path, *ports: int) -> list[Listener]:
    tls = Tls(
        certificate=str(files / "server.crt"), key=str(files / "server.key"), client_ca=str(files / "clients.pem")
    )
    demands = ("certificate", "prefix")
    return [
        Listener(name=f"link-{port}", kind="http", address=f"{GATEWAY}:{port}", demands=demands, tls=tls)
        for port in ports
    ]


def invite(node: Node, label: str, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = node.stage.ask("credential", "invite", "acme", "--user", label, *more, *REASON)
    return found


def machine(node: Node, program: Path, name: str, firm: str = "acme") -> Machine:
    return Machine(node, program, node.stage.directory / f"link-{name}", firm)


@dataclass
class Running:
    """A machine whose link runs, and curl with it as its proxy."""

    machine: Machine
    credential: str
    curl: Client
    process: subprocess.Popen[bytes]

    def opened(self) -> dict[str, Any]:
        """curl reaches a service; the record of that."""
        stage, started = self.machine.node.stage, time.time() * 1e6
        answer = self.curl.curl(f"https://{SEARCH}/")
        assert (answer.exit, answer.status) == (0, 200), answer.error
        found: list[dict[str, Any]] = []

        def there() -> bool:
            records = stage.records(kind="open", tenant="acme", limit=20)
            found[:] = [r for r in records if r.get("credential") == self.credential and r["time"] >= started]
            return bool(found)

        stage.wait(there, "no record of the machine's connection")
        return found[0]


@pytest.fixture(scope="module")
def running(two_ways: Node, program: Path) -> Iterator[Running]:
    stage = two_ways.stage
    one = machine(two_ways, program, "desk")
    invited = invite(two_ways, "desk 4")
    ways = " ".join(f"--gateway {GATEWAY}:{port}" for port in (CERTIFIED, FIRST, SECOND))
    assert invited["command"] == f"python3 feiyu-link.pyz enrol {ways} --ca {invited['root_sha256']}"
    done = one.enrol(invited)
    assert done.returncode == 0, done.stderr
    assert (one.directory / "identity.pem").stat().st_mode & 0o777 == 0o600
    argv = [sys.executable, "-I", str(program), "run", "--dir", str(one.directory)]
    with (stage.directory / "link.log").open("wb") as log:
        process = stage.zone.spawn(FIRMS["acme"].ns, argv, env=ENVIRONMENT, stdout=log, stderr=log)
    try:
        stage.wait(lambda: one.link("status").returncode == 0, "the link does not run")
        config = stage.directory / "link.curl"
        config.write_text(f'proxy = "http://127.0.0.1:3128"\ncacert = "{stage.ca}"\nsilent\nshow-error\n')
        credential = msgspec.json.decode(one.link("status", "--json").stdout)["credential"]
        yield Running(one, credential, Client(stage.zone, FIRMS["acme"], config, stage.directory), process)
    finally:
        end(process)


def test_curl_reaches_an_allowed_service_and_the_record_says_which_machine(two_ways: Node, running: Running) -> None:
    record = running.opened()
    assert (record["tenant"], record["listener"], record["host"]) == ("acme", f"link-{FIRST}", SEARCH)
    assert record["user"].startswith("u-")


def test_eight_megabytes_come_through_whole_both_ways(two_ways: Node, running: Running) -> None:
    size = 8 << 20
    upload = two_ways.stage.directory / "8mb"
    upload.write_bytes(os.urandom(size))
    answer = running.curl.curl(f"https://{SEARCH}/up", "--data-binary", f"@{upload}")
    assert (answer.exit, answer.json["received"]) == (0, size), answer.error
    kept = two_ways.stage.directory / "8mb.down"
    for link in (f"https://{SEARCH}/download?bytes={size}&rate=0", f"http://{SEARCH}/download?bytes={size}&rate=0"):
        kept.unlink(missing_ok=True)
        process = two_ways.stage.zone.run(
            FIRMS["acme"].ns, running.curl.arguments("-f", "-o", str(kept), link), 40, env=ENVIRONMENT
        )
        assert process.returncode == 0, process.stderr
        assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(bytes(size)).digest()


def test_a_refusal_comes_unchanged_and_denials_shows_it(two_ways: Node, running: Running) -> None:
    answer = running.curl.curl(f"https://{VIDEO}/")
    assert (answer.status, answer.reason) == (403, "not-whitelisted")
    assert two_ways.stage.record(ref=answer.ref)["credential"] == running.credential
    two_ways.stage.wait(lambda: answer.ref in running.machine.link("denials", "--mine").stdout, "denials shows nothing")
    shown = running.machine.link("denials", "--lang", "en").stdout
    assert f"{VIDEO}:443" in shown
    assert "This service is not on your firm's whitelist. (not-whitelisted)" in shown
    assert f"http://feiyu.zone/r/{answer.ref}" in shown
    assert "该服务不在贵公司的白名单内。" in running.machine.link("denials", "--lang", "zh").stdout


def test_the_firms_page_is_shown_through_the_link(two_ways: Node, running: Running) -> None:
    answer = running.curl.curl("http://feiyu.zone/", "-H", "Accept: application/json")
    assert (answer.status, answer.json["you"]["credential"]) == (200, running.credential)


def test_doctor_finds_nothing_wrong(running: Running) -> None:
    done = running.machine.link("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {one["state"] for one in msgspec.json.decode(done.stdout)} == {"ok"}


def test_an_invite_enrols_once(two_ways: Node, program: Path) -> None:
    invited = invite(two_ways, "once")
    first, second = machine(two_ways, program, "once-a"), machine(two_ways, program, "once-b")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: one.enrol(invited, "--lang", "en"), (first, second)))
    assert sorted(one.returncode for one in done) == [0, 6]
    refused = next(one for one in done if one.returncode == 6)
    assert "used already" in refused.stderr
    third = machine(two_ways, program, "once-c").enrol(invited, "--lang", "en")
    assert third.returncode == 6
    assert "if that was not you, tell the operator at once" in third.stderr
    ref = third.stderr.rpartition("Reference ")[2].split()[0]
    record = two_ways.stage.record(ref=ref)
    assert (record["reason"], record["path"], record["tenant"]) == ("identity-revoked", "/enrol", "acme")
    left = [path for path in (first.directory, second.directory) if (path / "link.json").exists()]
    assert len(left) == 1


def test_an_invite_is_of_one_firms_network_and_says_nothing_to_another(two_ways: Node, program: Path) -> None:
    invited = invite(two_ways, "elsewhere")
    stolen = {**invited, "token": invited["token"][:-1] + ("A" if invited["token"][-1] != "A" else "B")}
    done = machine(two_ways, program, "wrong").enrol(stolen, "--lang", "en")
    assert done.returncode == 6
    assert "no such invite for this firm's network, or a wrong token" in done.stderr
    # An invite opens nothing in the data path, whatever shows it.
    name, token = invited["token"].split(".")
    client = two_ways.stage.client("inviter", "acme", f"{name}:{token}")
    answer = client.curl(f"https://{SEARCH}/")
    assert (answer.status, answer.reason) == (407, "identity-unknown")
    assert machine(two_ways, program, "right").enrol(invited).returncode == 0


def test_a_wrong_fingerprint_ends_it_before_the_token_is_used(two_ways: Node, program: Path) -> None:
    invited = invite(two_ways, "pinned")
    done = machine(two_ways, program, "pinned").enrol(invited, "--lang", "en", ca="0" * 64)
    assert done.returncode == 1
    assert "nothing was sent" in done.stderr
    assert machine(two_ways, program, "pinned").enrol(invited).returncode == 0


def test_a_machine_renews_with_a_new_key_and_a_revoked_one_cannot(two_ways: Node, program: Path) -> None:
    one = machine(two_ways, program, "renews")
    assert one.enrol(invite(two_ways, "renews")).returncode == 0
    old = (one.directory / "identity.pem").read_bytes()
    before = msgspec.json.decode(one.link("status", "--json").stdout)["credential"]
    assert (done := renew(one)).returncode == 0, done.stderr
    new = (one.directory / "identity.pem").read_bytes()
    after = msgspec.json.decode(one.link("status", "--json").stdout)["credential"]
    assert (new.split(b"END PRIVATE")[0] != old.split(b"END PRIVATE")[0], after != before) == (True, True)
    (one.directory / "identity.pem").write_bytes(old)  # the old one is good to its own end, should an answer get lost
    assert one.link("denials").returncode == 0
    two_ways.feiyu("credential", "revoke", before)
    for held in (old, new):  # what goes back to the same invite is revoked with it
        (one.directory / "identity.pem").write_bytes(held)
        refused = renew(one)
        assert refused.returncode == 1
        assert "identity-revoked" in refused.stderr or "revoked" in refused.stderr
        assert one.link("denials").returncode == 6


def renew(one: Machine) -> subprocess.CompletedProcess[str]:
    """What the running link does at two thirds of a certificate's life."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from ops.link.files import Files\n"
        "from ops.link.renewal import renew\n"
        "files = Files(Path(sys.argv[2]))\n"
        "renew(files, files.settings())\n"
    )
    argv = [sys.executable, "-I", "-c", code, str(one.program), str(one.directory)]
    return one.node.stage.zone.run(FIRMS[one.firm].ns, argv, 60, env=ENVIRONMENT)


def test_where_a_gateway_is_gone_the_link_takes_the_other(two_ways: Node, running: Running) -> None:
    stage = two_ways.stage
    both = stage.settings()
    one = tuple(listener for listener in both.listeners if listener.name != f"link-{FIRST}")
    reload(two_ways, msgspec.structs.replace(both, listeners=one))
    assert running.opened()["listener"] == f"link-{SECOND}"
    reload(two_ways, both)

    stage.wait(lambda: running.opened()["listener"] == f"link-{FIRST}", "the first gateway is not taken again", 30)


def test_revocation_cuts_what_the_link_carries(two_ways: Node, running: Running) -> None:
    stage = two_ways.stage
    stage.clients["linked"] = running.curl
    try:
        with two_ways.download("linked", f"https://{SEARCH}/{SLOW}") as (process, flow):
            two_ways.feiyu("credential", "revoke", running.credential)
            assert process.wait(10) != 0
            assert [r["cause"] for r in two_ways.closing(flow)] == ["cut-by-policy"]
    finally:
        del stage.clients["linked"]
    answer = running.curl.curl(f"https://{SEARCH}/")
    assert (answer.status, answer.reason) == (407, "identity-revoked")
