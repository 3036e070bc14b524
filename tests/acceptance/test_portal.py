"""The firm's own page, its PAC file and its onboarding, in a whole node met by the real clients."""

import json
import os
import plistlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.demo.client import ENVIRONMENT, Answer
from ops.demo.network import FIRMS
from ops.demo.stage import PORT
from ops.demo.world import CODE, SEARCH, VIDEO
from tests.acceptance.kit import Node, identity_of
from tests.acceptance.test_more_ways import last_time
from tests.ops.test_pac import evaluated

pytestmark = pytest.mark.root

PORTAL = "http://feiyu.zone"
NEAR = f"{FIRMS['acme'].near[4]}:{PORT}"


def page(node: Node, client: str, path: str = "/", accept: str = "application/json") -> Answer:
    return node.stage.clients[client].curl("-H", f"Accept: {accept}", PORTAL + path)


def refs(node: Node, client: str) -> list[str]:
    """References that the client's page lists."""
    answer = page(node, client)
    assert answer.status == 200, answer
    return [one["ref"] for one in answer.json["refusals"]]


def seen(node: Node, client: str, ref: str) -> None:
    """Waits until the page has a refusal: once it is on disk, and no answer of a moment ago is given again."""
    for _ in range(12):
        if ref in refs(node, client):
            return
        node.stage.wait(lambda: bool(node.stage.records(ref=ref)), "no record of the refusal")
        subprocess.run(["sleep", "0.5"], check=True)
    raise AssertionError(f"{ref} is not on the page")


def test_a_firm_sees_who_it_is_and_why_it_was_refused(node: Node) -> None:
    refused = node.stage.clients["acme"].curl(f"https://{VIDEO}/")
    assert refused.reason == "not-whitelisted"
    seen(node, "acme", refused.ref)
    found = page(node, "acme").json
    you = found["you"]
    assert (you["tenant"], you["site"], you["room"], you["interface"]) == ("acme", "lingang-a", "r1", "acc-a")
    assert you["source"] == FIRMS["acme"].far[4]
    assert you["credential"] == node.stage.credentials["acme"]
    assert {line["id"]: line["text"]["en"] for line in found["lines"]}["hk1"] == "in service"
    hosts = [e["target"] for grant in found["whitelist"] for s in grant["services"] for e in s["endpoints"]]
    assert SEARCH in hosts
    assert CODE not in hosts
    mine = next(one for one in found["refusals"] if one["ref"] == refused.ref)
    assert (mine["host"], mine["reason"]) == (VIDEO, "not-whitelisted")
    shown = page(node, "acme", mine["link"], "text/html")
    assert (shown.status, shown.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert VIDEO in shown.body
    recorded: list[dict[str, Any]] = []

    def there() -> bool:
        found = node.stage.records(kind="portal", tenant="acme", limit=5)
        recorded[:] = [record for record in found if record.get("path") == mine["link"]]
        return bool(recorded)

    node.stage.wait(there, "no record of the request for the reference")
    assert (recorded[0]["host"], recorded[0]["decision"], recorded[0]["status"]) == ("feiyu.zone", "permit", 200)
    assert not {"line", "address", "reason"} & recorded[0].keys()


def test_no_other_firm_sees_it_nor_does_a_stranger(node: Node) -> None:
    refused = node.stage.clients["acme"].curl(f"https://{VIDEO}/")
    seen(node, "acme", refused.ref)
    assert refused.ref not in refs(node, "birch")
    theirs = page(node, "birch", f"/r/{refused.ref}")
    never = page(node, "birch", "/r/0000000000000000")
    assert (theirs.status, theirs.body) == (never.status, never.body) == (404, never.body)
    forged = node.stage.clients["birch"].curl(
        *("-H", "Accept: application/json", "-H", "Feiyu-Tenant: acme", "-H", "X-Tenant: acme"),
        f"{PORTAL}/?tenant=acme",
    )
    assert forged.json["you"]["tenant"] == "birch"
    for stranger, reason in (("nobody", "identity-unknown"), ("guesser", "identity-unknown"),
                             ("displaced", "source-not-allowed")):  # fmt: skip
        for path in ("/", f"/r/{refused.ref}", "/proxy.pac"):
            answer = page(node, stranger, path)
            assert answer.reason == reason
            assert SEARCH not in answer.body


def test_while_control_does_not_answer_the_page_says_so_and_traffic_goes_on(node: Node) -> None:
    pid = int(node.child("control")["pid"])
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = page(node, "acme", accept="text/html")
        assert node.stage.clients["acme"].curl(f"https://{SEARCH}/").exit == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.status == 503
    assert "没有应答" in answer.body
    assert page(node, "acme").status == 200


# ---- PAC


def in_firm(node: Node, *argv: str, firm: str = "acme", **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of the firm."""
    return node.stage.zone.run(FIRMS[firm].ns, list(argv), 60, env=ENVIRONMENT | environment)


def test_the_pac_file_is_served_to_the_place_and_as_rendered(node: Node) -> None:
    done = in_firm(node, "curl", "-sS", "-i", "--noproxy", "*", f"http://{NEAR}/proxy.pac")
    head, _, script = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\nContent-Type: application/x-ns-proxy-autoconfig\n")
    assert node.stage.ask("pac", "render", "acme")["pac"] == script
    assert node.stage.feiyu("pac", "render", "acme").stdout == script
    found = evaluated(script, [SEARCH, VIDEO, CODE, "feiyu.zone"])
    ours = found[0]
    assert ours.startswith(f"PROXY {NEAR}")
    assert "DIRECT" not in ours
    assert found == [ours, "DIRECT", "DIRECT", ours]
    proxied = evaluated(node.stage.ask("pac", "render", "acme", "--others", "proxy")["pac"], [SEARCH, VIDEO])
    assert proxied == [ours, ours]
    other = in_firm(
        node, "curl", "-sS", "--noproxy", "*", f"http://{FIRMS['birch'].near[4]}:{PORT}/proxy.pac", firm="birch"
    )
    assert evaluated(other.stdout, [SEARCH, CODE])[1].startswith(f"PROXY {FIRMS['birch'].near[4]}:{PORT}")


def test_a_browser_that_is_told_the_pac_file_takes_the_gateway_for_the_whitelist_alone(node: Node) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    since = last_time(node)
    with tempfile.TemporaryDirectory(prefix="fyt-browser") as profile:
        for url in (f"https://{SEARCH}/", f"https://{VIDEO}/", f"{PORTAL}/"):
            options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--timeout=4000")
            pac = f"--proxy-pac-url=http://{NEAR}/proxy.pac"
            in_firm(node, "timeout", "-k", "1", "15", "chromium", *options, pac, "--dump-dom", url, HOME=profile)
    node.stage.wait(
        lambda: any(r["time"] > since for r in node.stage.records(host="feiyu.zone", kind="deny", limit=1)),
        "the browser did not ask the gateway for the firm's page",
    )
    found = [r for r in node.stage.records(source=FIRMS["acme"].far[4], limit=200) if r["time"] > since]
    fetched = [r for r in found if r["kind"] == "portal"]
    assert {(r["path"], r["status"]) for r in fetched} == {("/proxy.pac", 200)}
    # It has no credential, so the gateway turns it away, by the reason that says it was asked.
    asked = {(r["host"], r["reason"]) for r in found if r["kind"] == "deny"}
    assert {(SEARCH, "identity-unknown"), ("feiyu.zone", "identity-unknown")} <= asked
    assert VIDEO not in {host for host, _ in asked}


# ---- onboarding


@pytest.fixture(scope="module")
def home(session_node: Node) -> Iterator[tuple[Node, Path, dict[str, Any]]]:
    """A person's home with every file of the onboarding in it, as it is printed, and what was printed."""
    words = ("tenant", "onboard", "acme", "--issue", "laptop 3", "--for", "1d", "--reason", "demo")
    shown = session_node.stage.ask(*words)
    with tempfile.TemporaryDirectory(prefix="fyt-home") as directory:
        home = Path(directory)
        for recipe in shown["recipes"]:
            if recipe["file"]:
                file = home / recipe["file"].removeprefix("~/").removeprefix("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(0o600)
                file.write_text(recipe["content"])
        yield session_node, home, shown


def recipe(shown: dict[str, Any], key: str) -> dict[str, Any]:
    return next(dict(one) for one in shown["recipes"] if one["key"] == key)


URL = f"https://{SEARCH}/"
# What a person types behind what the recipe says; {command} is the recipe's, {ca} the zone's certificate authority.
CLIENTS = {
    "environment": "{command}; wget -qO- --ca-certificate={ca} " + URL,
    "curl": "{command} --cacert {ca}",
    "git": "{command} && git ls-remote " + URL + "repository",
    "pip": "{pip} download --no-cache-dir --no-deps --retries 0 -d {home}/wheels --cert {ca} -i "
    + URL
    + "simple nothing",
    "npm": "npm view nothing --fetch-retries=0 --cafile={ca} --registry=" + URL,
    "apt": "/usr/lib/apt/apt-helper -c {home}/etc/apt/apt.conf.d/90feiyu -o Acquire::https::CAInfo={ca} "
    "-o APT::Sandbox::User=root -o Acquire::Retries=0 download-file " + URL + " {home}/answer",
}


def opened(node: Node, since: int) -> list[dict[str, Any]]:
    """acme's flows to the service that began after that time, once there are any."""
    for _ in range(30):
        items = node.stage.records(kind="open", tenant="acme", host=SEARCH, limit=5)
        if found := [item for item in items if item["time"] > since]:
            return found
        subprocess.run(["sleep", "0.1"], check=True)
    return []


@pytest.mark.parametrize("key", CLIENTS)
def test_each_program_reaches_a_service_by_what_is_printed(key: str, home: tuple[Node, Path, dict[str, Any]]) -> None:
    node, directory, shown = home
    program = {"environment": "wget", "apt": "/usr/lib/apt/apt-helper"}.get(key, key)
    if shutil.which(program, path=f"{ENVIRONMENT['PATH']}:{os.environ['PATH']}") is None:
        pytest.skip(f"{program} is not installed")
    command = recipe(shown, key)["command"].replace("https://HOST/", URL)
    line = CLIENTS[key].format(
        command=command, ca=node.stage.ca, home=directory, pip=f"{shutil.which('python3')} -m pip"
    )
    since = last_time(node)
    more = {"HOME": str(directory), "GIT_SSL_CAINFO": str(node.stage.ca), "GIT_TERMINAL_PROMPT": "0"}
    done = in_firm(node, "sh", "-c", line, **more)
    said = f"{line}: {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}"
    found = opened(node, since)
    assert found, f"{key} did not reach {SEARCH}: {said}"
    assert found[0]["credential"] == shown["credential"]["id"]
    if key in ("environment", "curl", "apt"):
        assert done.returncode == 0, said


def test_what_is_printed_for_machines_is_well_formed(home: tuple[Node, Path, dict[str, Any]]) -> None:
    _, directory, shown = home
    token, pac = shown["credential"]["token"], f"http://{NEAR}/proxy.pac"
    assert shown["pac"] == pac
    for one in shown["recipes"]:
        assert one["secret"] == (token in one["content"]), one["key"]
        assert token not in one["command"]
        assert one["title"]["zh"] and one["title"]["en"]
        assert "\t" not in one["content"]
    profile = plistlib.loads((directory / "feiyu.mobileconfig").read_bytes())
    assert profile["PayloadContent"][0]["ProxyPACURL"] == pac
    assert profile["PayloadContent"][0]["ProxyPACFallbackAllowed"] is False
    chrome = json.loads((directory / "etc/opt/chrome/policies/managed/feiyu.json").read_text())["ProxySettings"]
    registry = recipe(shown, "windows")["content"]
    quoted = next(line for line in registry.splitlines() if line.startswith('"ProxySettings"=')).partition("=")[2]
    assert json.loads(json.loads(quoted)) == chrome
    assert chrome == {"ProxyMode": "pac_script", "ProxyPacUrl": pac, "ProxyPacMandatory": True}
    firefox = json.loads((directory / "etc/firefox/policies/policies.json").read_text())["policies"]
    assert firefox["Proxy"]["AutoConfigURL"] == pac
    for file in ("etc/docker/daemon.json", ".docker/config.json"):
        assert token in json.dumps(json.loads((directory / file).read_text())["proxies"])


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("more", [(), ("--markdown",)], ids=["text", "markdown"])
def test_onboarding_without_issuing_holds_no_token(node: Node, lang: str, more: tuple[str, ...]) -> None:
    known = {item["id"] for item in node.stage.ask("credential", "list", "acme")}
    done = node.stage.feiyu("tenant", "onboard", "acme", *more, "--lang", lang)
    assert done.returncode == 0, done.stderr
    for words in (f"http://{NEAR}", f"http://{NEAR}/proxy.pac", f"{PORTAL}/", "CREDENTIAL:TOKEN"):
        assert words in done.stdout
    title = "环境变量" if lang == "zh" else "Environment"
    assert f"## {title}" in done.stdout if more else f"── {title}" in done.stdout
    assert identity_of(node.stage, "acme").partition(":")[2] not in done.stdout
    assert {item["id"] for item in node.stage.ask("credential", "list", "acme")} == known


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "an end without a credential": (("acme", "--for", "90d"), 2, "--issue"),
    "a credential without an end": (("acme", "--issue", "x", "--reason", "r"), 2, "--for"),
    "a credential without a reason": (("acme", "--issue", "x", "--for", "1d", "--no-input"), 2, "--reason"),
    "a firm that is not there": (("acmee",), 1, "acme"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_onboarding_that_is_mistaken_issues_nothing(node: Node, case: str) -> None:
    arguments, status, words = MISTAKES[case]
    known = len(node.stage.ask("credential", "list", "acme"))
    done = node.stage.feiyu("tenant", "onboard", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert len(node.stage.ask("credential", "list", "acme")) == known
