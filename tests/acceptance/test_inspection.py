"""Inspection on a whole node: consent, certificates and rules by the command; curl, git, pip and others through it, by
each way in; and what an inspector process may do."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.demo.client import ENVIRONMENT
from ops.demo.network import FIRMS
from ops.demo.world import MIRROR, PREFIXES, VIDEO
from tests.acceptance.chromium import chromium, trust
from tests.acceptance.goods import NAME
from tests.acceptance.kit import SECURED, SOCKS, Node, identity_of
from tests.acceptance.shop import TLS
from tests.acceptance.test_transparent import FAKE

pytestmark = pytest.mark.root

RULES = """
roots: {roots}
rules:
  - {{id: read, methods: [GET, HEAD], paths: ["/open/*", "/download"]}}
  - {{id: write, methods: [POST], paths: ["/in"], upload_types: [application/json], upload_bytes: 1000}}
"""


@pytest.fixture(scope="module")
def inspected(session_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """video.example granted to acme inspected; gives acme's root of inspection."""
    directory = tmp_path_factory.mktemp("inspection")
    root, rules = directory / "root", directory / "rules.yaml"
    rules.write_text(RULES.format(roots=session_node.stage.ca))
    special = [word for prefix in PREFIXES for word in ("--special-prefix", prefix)]
    feiyu = session_node.feiyu
    feiyu("service", "add", "video", "--host", VIDEO, *special)
    feiyu("grant", "add", "--id", "g-video", "--tenant", "acme", "--service", "video", "--line", "hk1", "--for", "1d",
          "--inspect", str(rules))  # fmt: skip
    for command in ("init", "renew"):
        done = session_node.stage.feiyu("inspection", command, "acme", "--root", str(root))
        assert done.returncode == 0, done.stderr
    yield root / "root.crt"
    feiyu("grant", "revoke", "g-video")
    feiyu("tenant", "consent", "acme", "--withdraw")
    feiyu("service", "retire", "video")


@pytest.fixture
def root(node: Node, inspected: Path) -> Path:
    """The firm has consented."""
    consent = ("--sha256", "ab" * 32, "--signatory", "Legal representative", "--for", "1d")
    node.feiyu("tenant", "consent", "acme", *consent)
    return inspected


def test_without_consent_the_command_says_so_and_so_does_the_gateway(node: Node, inspected: Path) -> None:
    node.feiyu("tenant", "consent", "acme", "--withdraw")
    told = node.stage.ask("explain", "acme", f"{VIDEO}:443")
    assert told["verdict"]["reason"] == "consent-missing"
    assert "tenant consent" in json.dumps(told)
    answer = node.stage.clients["acme"].curl(f"https://{VIDEO}/open/a", "--cacert", str(inspected))
    assert (answer.status, answer.reason) == (403, "consent-missing")


def test_explain_says_that_a_service_is_inspected(node: Node, root: Path) -> None:
    told = node.stage.ask("explain", "acme", f"{VIDEO}:443")
    assert "its content is inspected" in json.dumps(told)


WAYS = {
    "a plain proxy": (),
    "a proxy over IPv6": (),
    "SOCKS5": ("--proxy", "", "--socks5-hostname", f"{FIRMS['acme'].near[4]}:{SOCKS}"),
    "a proxy over TLS": ("--proxy", f"https://{FIRMS['acme'].near[4]}:{SECURED}", "--proxy-cacert", "{ca}"),
    "no proxy at all": ("--proxy", "", "--resolve", f"{VIDEO}:443:{FAKE[4]}"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_each_way_in_leads_through_inspection(node: Node, root: Path, way: str, http: str) -> None:
    client = node.stage.clients["acme"]
    arguments = [word.replace("{ca}", str(node.stage.directory / "state" / "ca" / "root.crt")) for word in WAYS[way]]
    curl = (*arguments, "--cacert", str(root), http)
    answer = client.curl(f"https://{VIDEO}/open/a?q=1", *curl)
    assert (answer.status, answer.json.get("path")) == (200, "/open/a"), answer
    assert answer.header("Feiyu-Inspected") == "g-video"
    refused = client.curl(f"https://{VIDEO}/closed?q=1", *curl)
    assert (refused.status, refused.json.get("reason")) == (403, "path-not-allowed"), refused
    ref = refused.json["instance"].rpartition("/")[2]
    told = node.stage.ask("explain", "--ref", ref)
    assert "path-not-allowed" in json.dumps(told)
    assert "q=1" not in json.dumps(told)


def test_uploads_are_held_to_the_rule(node: Node, root: Path) -> None:
    client = node.stage.clients["acme"]
    sent = client.curl(f"https://{VIDEO}/in", "--cacert", str(root), "--json", '{"a": 1}')
    assert (sent.status, sent.json.get("received")) == (200, 8), sent
    large = client.curl(f"https://{VIDEO}/in", "--cacert", str(root), "--json", "x" * 1001)
    assert (large.status, large.json.get("reason")) == (403, "content-not-allowed"), large


def test_a_program_that_trusts_the_service_alone_does_not_get_through(node: Node, root: Path) -> None:
    answer = node.stage.clients["acme"].curl(f"https://{VIDEO}/open/a", "--cacert", str(node.stage.ca))
    assert answer.exit == 60


PYTHON = """
import json, sys, urllib.request
print(json.load(urllib.request.urlopen("https://HOST/open/python"))["path"])
try:
    urllib.request.urlopen("https://HOST/closed")
except urllib.error.HTTPError as error:
    print(error.code, error.reason)
""".replace("HOST", VIDEO)
NODE_CODE = """
const https = require('https'), http = require('http');
const tls = require('tls');
class Through extends https.Agent {
  constructor(socket) { super(); this.through = socket; }
  createConnection(options) { return tls.connect({...options, socket: this.through, servername: 'HOST'}); }
}
const [host, port, auth] = process.argv.slice(1);
function ask(path, then) {
  const connect = http.request({host, port, method: 'CONNECT', path: 'HOST:443',
    headers: {Host: 'HOST:443', 'Proxy-Authorization': 'Basic ' + Buffer.from(auth).toString('base64')}});
  connect.on('connect', (_, socket) => https.get({host: 'HOST', path, agent: new Through(socket)}, (answer) => {
    answer.resume(); console.log(answer.statusCode, answer.statusMessage.replace(/ .ref.*/, '')); then();
  }));
  connect.end();
}
ask('/open/node', () => ask('/closed', () => process.exit(0)));
""".replace("HOST", VIDEO)


def identity(node: Node, client: str = "acme") -> str:
    return identity_of(node.stage, client)


def test_pythons_own_client_passes_and_is_refused(node: Node, root: Path) -> None:
    wire = FIRMS["acme"]
    proxy = f"http://{identity(node)}@{wire.near[4]}:3128"
    environment = ENVIRONMENT | {"https_proxy": proxy, "SSL_CERT_FILE": str(root)}
    done = node.stage.zone.run(wire.ns, ["python3", "-c", PYTHON], env=environment)
    assert done.stdout.splitlines()[0] == "/open/python", done
    assert re.fullmatch(r"403 Path not allowed \(ref [0-9A-Z]{16}\)", done.stdout.splitlines()[1])


def test_nodes_own_client_passes_and_is_refused(node: Node, root: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here")
    wire = FIRMS["acme"]
    environment = ENVIRONMENT | {"NODE_EXTRA_CA_CERTS": str(root)}
    argv = ["node", "-e", NODE_CODE, wire.near[4], "3128", identity(node)]
    done = node.stage.zone.run(wire.ns, argv, env=environment)
    assert done.stdout.split("\n")[:2] == ["200 OK", "403 Path not allowed"], (done.stdout, done.stderr)


def test_a_person_at_chromium_is_told_once_and_then_served(node: Node, root: Path, tmp_path: Path) -> None:
    if lacking := [name for name in ("chromium", "certutil") if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(lacking)}; ./setup.sh clients .venv installs it")
    wire = FIRMS["acme"]
    name, _, password = identity(node).partition(":")
    trust(tmp_path, inspection=root)
    proxy = f"--proxy-server=http://{wire.near[4]}:3128"
    with chromium(node.stage.zone, wire.ns, tmp_path, tmp_path / "log", [proxy]) as browser:
        told = browser.visit(f"https://{VIDEO}/open/a", (name, password))
        assert (told.status, told.title) == (200, "该服务的内容受检查 · This service is inspected"), told
        assert "Load the page again to go on." in told.text
        page = browser.visit(f"https://{VIDEO}/open/a", (name, password))
        assert (page.status, '"path": "/open/a"' in page.text) == (200, True), page
        refused = browser.visit(f"https://{VIDEO}/closed", (name, password))
        assert (refused.status, refused.title) == (403, "路径未获授权 · Path not allowed"), refused


GIT_RULES = """
roots: {roots}
rules:
  - {{id: refs, paths: ["/git/{{repository}}/info/refs"]}}
  - {{id: fetch, methods: [POST], paths: ["/git/{{repository}}/git-upload-pack"],
     upload_types: [application/x-git-upload-pack-request]}}
"""


@pytest.mark.usefixtures("shop")
def test_git_may_fetch_and_not_push(node: Node, tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    stage, wire = node.stage, FIRMS["birch"]
    rules, safe = tmp_path / "rules.yaml", tmp_path / "root"
    rules.write_text(GIT_RULES.format(roots=stage.ca))
    node.feiyu("tenant", "consent", "birch", "--sha256", "cd" * 32, "--signatory", "Director", "--for", "1d")
    granted = ("--tenant", "birch", "--service", "shop", "--line", "sg1", "--for", "1d", "--inspect", str(rules))
    node.feiyu("grant", "add", "--id", "g-git", *granted)
    try:
        for command in ("init", "renew"):
            done = stage.feiyu("inspection", command, "birch", "--root", str(safe))
            assert done.returncode == 0, done.stderr
        proxy = f"http://{identity(node, 'birch')}@{wire.near[4]}:3128"
        settings = ["-c", f"http.proxy={proxy}", "-c", f"http.sslCAInfo={safe / 'root.crt'}"]
        url, clone = f"https://{MIRROR}:{TLS}/git/{NAME}.git", tmp_path / "clone"
        environment = ENVIRONMENT | {"HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"}
        fetched = stage.zone.run(wire.ns, ["git", *settings, "clone", url, str(clone)], env=environment)
        assert fetched.returncode == 0, fetched
        assert (clone / "README").exists()
        pushed = stage.zone.run(wire.ns, ["git", *settings, "-C", str(clone), "push", url, "main:new"], env=environment)
        assert pushed.returncode != 0
        since = [
            r for r in stage.records(tenant="birch", limit=50) if r.get("grant") == "g-git" and r["kind"] == "request"
        ]
        assert {r["rule"] for r in since} == {"refs", "fetch"}
        assert not any("receive-pack" in r["path"] for r in since)
    finally:
        node.feiyu("grant", "revoke", "g-git")
        node.feiyu("tenant", "consent", "birch", "--withdraw")


def test_an_inspector_has_no_capability_no_network_and_a_user_of_its_own(node: Node) -> None:
    pid = node.child("i0")["pid"]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    others = {node.child(name)["pid"] for name in ("w0", "control", "recorder", "lines")}
    uids = {Path(f"/proc/{other}").stat().st_uid for other in others}
    if node.stage.settings().users.base:
        assert Path(f"/proc/{pid}").stat().st_uid not in uids
    devices = [line.split(":")[0].strip() for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]]
    assert devices == ["lo"]
    assert not Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max data size +1073741824 +1073741824", limits)
    assert re.search(r"Max core file size +0 +0", limits)


def test_an_inspector_that_is_killed_is_there_again(node: Node, root: Path) -> None:
    before = node.kill("i0")
    node.stage.wait(lambda: node.child("i0")["pid"] not in (None, 0, before), "no new inspector", 10)
    client = node.stage.clients["acme"]

    def passes() -> bool:
        return client.curl(f"https://{VIDEO}/open/a", "--cacert", str(root)).status == 200

    node.stage.wait(passes, "nothing is inspected after the restart", 10)
