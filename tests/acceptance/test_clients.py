"""Programs that firms have reach a granted service, and show a refusal as tests/acceptance/programs.py says.

What a program shows is what a person can tell the operator, so it is compared word for word; where nothing of the
refusal's reference is shown, that is asserted too.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from ops.demo.client import ENVIRONMENT
from ops.demo.network import FIRMS, LINES
from ops.demo.world import MIRROR, VIDEO
from tests.acceptance.goods import GREETING
from tests.acceptance.kit import Node, ca_files, certificate_of, identity_of
from tests.acceptance.program import WAYS, Program
from tests.acceptance.programs import CODE, NODE, PROGRAMS
from tests.acceptance.shop import PLAIN, TLS

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("shop")]

PATIENCE = 90.0  # seconds that a program may take on a busy machine
PORTS = {"https": TLS, "http": PLAIN}
CASES = {f"{p.name}, {way}, {scheme}": (p, way, scheme) for p in PROGRAMS for way in p.ways for scheme in p.ways[way]}
every_program = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
type Case = tuple[Program, str, str]


@pytest.fixture(scope="module")
def built(session_node: Node) -> Path:
    """The folder with what must be compiled, as far as the compilers are there; the CA in the form Java takes."""
    stage = session_node.stage
    folder = stage.directory / "built"
    folder.mkdir()
    compilers = {"go": ["go", "build", "-o", str(folder / "get"), str(CODE / "get.go")]}
    compilers["javac"] = ["javac", "-d", str(folder), str(CODE / "Get.java")]
    for needed, argv in compilers.items():
        if not Program(needed, "", (needed,), (), {}, {}, {}).missing():
            done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"GO111MODULE": "off"})
            assert done.returncode == 0, done.stderr
    certificate = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(stage.ca.read_bytes()), b"zone")
    trust = pkcs12.serialize_java_truststore([certificate], BestAvailableEncryption(b"changeit"))
    Path(f"{stage.ca}.p12").write_bytes(trust)
    return folder


@pytest.fixture(scope="module")
def certified(session_node: Node) -> dict[str, str]:
    """Files of a machine of acme's: whom it trusts, its certificate and key, as {words}."""
    stage = session_node.stage
    trust = stage.directory / "trust.pem"
    trust.write_bytes(stage.ca.read_bytes() + (ca_files(stage) / "root.crt").read_bytes())
    key, certificate, _ = certificate_of(session_node, "acme", "desk-4")
    return {"trust": str(trust), "certificate": str(certificate), "key": str(key)}


@dataclass(frozen=True)
class Desk:
    """A program set up for one way in, with a home of its own. since: of the log's time; words: of the templates."""

    node: Node
    program: Program
    way: str
    since: int
    words: dict[str, str] = field(repr=False)  # the token is among them

    def run(self, url: str) -> tuple[int, str]:
        """Exit status, and all that it shows."""
        argv = [word.format(url=url + self.program.path, **self.words) for word in self.program.argv]
        env = {name: value.format(**self.words) for name, value in self.program.env.items()}
        env |= {"HOME": self.words["home"], "PATH": f"{NODE}/bin:{ENVIRONMENT['PATH']}", "LANG": "C.UTF-8"}
        zone, ns = self.node.stage.zone, FIRMS["acme"].ns
        done = zone.run(ns, argv, PATIENCE, env=env, cwd=self.words["home"], stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def recorded(self, kind: str, host: str) -> list[dict[str, Any]]:
        """What the log has of this program since."""
        found = self.node.recorded(kind, host, self.since)
        assert {r["listener"] for r in found} == {WAYS[self.way].listener}
        return found


@pytest.fixture
def desk(node: Node, built: Path, certified: dict[str, str], case: Case, tmp_path: Path) -> Desk:
    """Sets the program up: files below its home, variables, and never a secret among its arguments."""
    program, name, _ = case
    if lacking := program.missing():
        pytest.skip(f"not installed: {lacking}; ./setup.sh clients .venv installs it")
    way = WAYS[name]
    proxy = way.proxy(identity_of(node.stage, "acme"), (program.schemes or {}).get(way.scheme, ""))
    words = {"proxy": proxy, "ca": str(node.stage.ca), "home": str(tmp_path), "code": str(built)} | certified
    for file, text in program.files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch(0o600)
        (tmp_path / file).write_text(text.format(**words))
    return Desk(node, program, name, time.time_ns() // 1000, words)


@every_program
def test_a_program_reaches_a_granted_service(desk: Desk, case: Case) -> None:
    program, way, scheme = case
    status, shown = desk.run(f"{scheme}://{MIRROR}:{PORTS[scheme]}/")
    if scheme == "http" and (program.tunnels or WAYS[way].tunnels):
        assert status != 0
        assert "protocol-not-allowed" in {r["reason"] for r in desk.recorded("deny", MIRROR)}
        return
    assert status == 0, shown
    if program.leaves:
        assert GREETING in Path(desk.words["home"], program.leaves).read_text()
    else:
        assert f'"client": "{LINES["hk1"].near[4]}"' in shown
    assert {(r["line"], r["grant"]) for r in desk.recorded("close", MIRROR)} == {("hk1", "g-shop")}


@every_program
def test_what_a_program_shows_of_a_refusal(desk: Desk, case: Case) -> None:
    program, way, scheme = case
    expected = program.ways[way][scheme]
    status, shown = desk.run(f"{scheme}://{VIDEO}/")
    refusals = {r["ref"]: r["reason"] for r in desk.recorded("deny", VIDEO)}
    assert set(refusals.values()) - ({"identity-unknown"} if program.challenged else set()) == {"not-whitelisted"}
    pattern = re.escape(expected.text).replace(re.escape("{ref}"), "([0-9A-Z]{16})")
    found = re.search(pattern, shown)
    assert found, shown
    assert status == expected.exit
    if expected.reference:
        assert found[1] in refusals
    else:
        assert not [ref for ref in refusals if ref in shown], "it shows more than programs.py says"
