"""init, check and the ends of a command that has nobody to talk to."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.cli.main import run
from ops.doctor.environment import listeners, management
from ops.doctor.finding import Level
from ops.settings import parse_settings
from telemetry.evidence.keys import load_key
from tenants.store import Store

Output = pytest.CaptureFixture[str]
CONFIG = """\
node: gw1.zone.example
state_dir: {0}/state
run_dir: {0}/run
workers: 1
listeners: [{{name: plain, kind: plain, address: "127.0.0.1:{1}"}}]
access: [{{interface: lo, site: s1, room: r1, prefixes: ["127.0.0.0/8"], side: offshore}}]
metrics: {{address: "127.0.0.1:{2}"}}
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for taken in sockets:
        taken.close()
    return ports


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "feiyu.yaml"
    path.write_text(CONFIG.format(tmp_path, *free_ports(2)))
    monkeypatch.setenv("FEIYU_CONFIG", str(path))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("FEIYU_SERVER", raising=False)
    return tmp_path


def test_init_makes_keys_that_fit_and_a_register_that_opens(node: Path, capsys: Output) -> None:
    assert run(["init"]) == 0
    keys = node / "state" / "keys"
    private = (keys / "snapshot.key").read_bytes()
    assert (keys / "snapshot.key").stat().st_mode & 0o777 == 0o600
    assert (
        Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        == (keys / "snapshot.pub").read_bytes()
    )
    assert (node / "state" / "register.db").stat().st_mode & 0o777 == 0o600
    assert (node / "state" / "evidence" / "flows.key").stat().st_mode & 0o777 == 0o600
    assert load_key(node / "state" / "evidence", "flows")
    store = Store(node / "state" / "register.db")
    store.open(create=False)
    store.close()
    assert capsys.readouterr().out == ""


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_init_never_overwrites(node: Path, capsys: Output) -> None:
    run(["init"])
    before = contents(node)
    assert run(["init"]) == 1
    assert "this node was set up before" in capsys.readouterr().err
    assert contents(node) == before


@pytest.mark.parametrize("lost", ["register.db", "keys/snapshot.pub", "keys/snapshot.key", "evidence/flows.key"])
def test_init_completes_what_was_interrupted_and_keeps_the_rest(node: Path, lost: str) -> None:
    run(["init"])
    (node / "state" / lost).unlink()
    before = contents(node)
    assert run(["init"]) == 1
    assert contents(node) == before
    assert run(["init", "--complete"]) == 0
    after = contents(node)
    assert (node / "state" / lost).exists()
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed <= ({str(node / "state/keys/snapshot.pub")} if lost == "keys/snapshot.key" else set())


def test_init_makes_no_new_key_for_an_evidence_log_that_is_there(node: Path, capsys: Output) -> None:
    run(["init"])
    evidence = node / "state" / "evidence"
    (evidence / "flows.key").unlink()
    (evidence / "flows.committed").write_bytes(b"a checkpoint")
    assert run(["init", "--complete"]) == 1
    assert "flows.key is missing, and its log goes on with no other: put it back" in capsys.readouterr().err
    assert not (evidence / "flows.key").exists()


def test_init_writes_an_example_that_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.cli import setup

    path = tmp_path / "etc" / "feiyu.yaml"
    assert setup.write_example(path)
    assert not setup.write_example(path)
    assert parse_settings(path.read_text(), str(path)).state_dir == "/var/lib/feiyu"


def test_check_names_path_and_line_of_a_broken_configuration(node: Path, capsys: Output) -> None:
    path = node / "feiyu.yaml"
    path.write_text(path.read_text().replace("workers: 1", "workers: many"))
    assert run(["check"]) == 2
    shown = capsys.readouterr()
    assert f"\n{path}:4: " in shown.err
    assert "expected" in shown.err
    assert shown.out == ""


def test_check_fails_with_the_remedy_where_init_is_missing(node: Path, capsys: Output) -> None:
    assert run(["check"]) == 1
    assert "run feiyu init" in capsys.readouterr().out


def test_check_sees_a_port_in_use_and_names_how_to_find_who(node: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = parse_settings(CONFIG.format(node, port, free_ports(1)[0]), "x")
        found = {finding.name: finding for finding in listeners(settings, running=False)}
        assert found["listener plain"].level is Level.FAIL
        assert f"sport = :{port}" in found["listener plain"].remedy
        assert found["metrics"].level is Level.OK
        held = {finding.name: finding for finding in listeners(settings, running=True)}
        assert held["listener plain"].level is Level.OK


def test_check_sees_an_address_that_is_not_here(node: Path) -> None:
    text = CONFIG.format(node, *free_ports(2)).replace("127.0.0.1:", "198.51.100.7:", 1)
    found = list(listeners(parse_settings(text, "x"), running=False))
    assert found[0].level is Level.FAIL
    assert "not an address of this machine" in found[0].seen


def test_check_warns_that_an_administrator_would_be_cut_off(node: Path) -> None:
    text = CONFIG.format(node, *free_ports(2))
    assert management(parse_settings(text, "x")).level is Level.WARN
    text += 'management: [{interface: eth0, prefixes: ["192.0.2.0/24"]}]\n'
    assert management(parse_settings(text, "x")).level is Level.OK


def test_no_control_is_exit_5_with_what_to_do(node: Path, capsys: Output) -> None:
    assert run(["tenant", "list"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{node}/run/control.sock" in shown.err
    assert "feiyu up" in shown.err


@contextmanager
def impostor(path: Path, answer: bytes) -> Iterator[None]:
    """Answers one request with these bytes."""

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.recv(65_536)
            client.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(20)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(20)


def http(status: str, kind: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


PROBLEM = "application/problem+json"


CONFLICT = '{"type":"urn:feiyu:problem:revision","title":"T"}'
EXISTS = '{"type":"urn:feiyu:problem:exists","title":"E"}'
FIELDS = '{"title":"N","errors":[{"field":"f","message":"m"}],"remedy":"r"}'


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        pytest.param(b"", 5, "failed", id="nothing"),
        pytest.param(b"\x00\x01\x02\r\n\r\n", 5, "failed", id="not HTTP"),
        pytest.param(http("200 OK", "text/html", "<html>"), 5, "not answer in JSON", id="not JSON"),
        pytest.param(http("403 X", PROBLEM, '{"title":"Forbidden","detail":"no role"}'), 6, "no role", id="forbidden"),
        pytest.param(http("409 X", PROBLEM, CONFLICT), 4, "T", id="revision conflict"),
        pytest.param(http("409 X", PROBLEM, EXISTS), 1, "E", id="exists"),
        pytest.param(http("422 X", PROBLEM, FIELDS), 2, "f: m", id="fields"),
        pytest.param(http("503 X", PROBLEM, '{"title":"Locked","remedy":"wait"}'), 5, "wait", id="register locked"),
        pytest.param(http("500 X", "text/plain", "oops"), 1, "500", id="no problem document"),
        pytest.param(http("404 X", PROBLEM, '{"title":"a\\u001b[2Jb"}'), 1, r"a\x1b[2Jb", id="escapes in a message"),
    ],
)
def test_answers_and_their_exit_codes(node: Path, capsys: Output, answer: bytes, code: int, words: str) -> None:
    with impostor(node / "fake.sock", answer):
        assert run(["status", "--server", str(node / "fake.sock")]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("tenant add acme --name A --place s/r/lo/10.1.0.0/24 --for 1y", "needs a reason", id="no reason"),
        pytest.param("tenant add acme --name A --place s/r/lo/10.1.0.0/24 --reason x", "say how long", id="no end"),
        pytest.param("grant add --line l --for 1d --service s --reason x", "--tenant or --group", id="for nobody"),
        pytest.param(
            "grant add --line l --for 1d --tenant t --group g --service s", "--tenant or --group", id="for two"
        ),
        pytest.param("grant add --line l --for 1d --tenant t", "--service or --category", id="for nothing"),
        pytest.param(
            "grant add --line l --tenant t --service s --for 1d --until 2027-01-01", "same thing", id="two ends"
        ),
        pytest.param("service add s --reason x", "needs an endpoint", id="service without endpoint"),
        pytest.param(
            "service add s --host a.example --protocol tcp --reason x", "names its port", id="tcp without port"
        ),
        pytest.param("service add s --port 443 --endpoint tls://a.example", "belong to --host", id="port without host"),
        pytest.param("tenant edit acme --reason x", "nothing to change", id="an edit of nothing"),
        pytest.param("line add l --device d --gateway 192.0.2.1 --gateway 192.0.2.2", "twice", id="two IPv4 gateways"),
        pytest.param("explain acme", "whom and what", id="explain half a question"),
        pytest.param("explain acme a.example --ref R", "one or the other", id="explain two questions"),
        pytest.param("tenant lst", "Did you mean 'list'", id="a misspelt command"),
        pytest.param("kill engage", "No such command", id="a command of a later release"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_said_without_a_server(
    node: Path, capsys: Output, line: str, words: str
) -> None:
    assert run([*line.split(), "--no-input"]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""


def test_a_fault_is_words_and_only_on_request_a_traceback(
    node: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    with impostor(node / "a.sock", http("200 OK", "application/json", '{"items": 7}')):
        assert run(["tenant", "list", "--server", str(node / "a.sock")]) == 1
    quiet = capsys.readouterr().err
    assert "internal error" in quiet
    assert "Traceback" not in quiet
    monkeypatch.setenv("FEIYU_DEBUG", "1")
    with impostor(node / "b.sock", http("200 OK", "application/json", '{"items": 7}')):
        run(["tenant", "list", "--server", str(node / "b.sock")])
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(node: Path) -> None:
    code = "import sys; from ops.cli.main import main; main(sys.argv[1:])"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "completion", "bash"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_the_reason_is_asked_for_on_a_terminal_and_nowhere_else(node: Path) -> None:
    code = "import sys; from ops.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "group", "add", "g"]
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"because\n")
    done = subprocess.run(command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, timeout=30, check=False)
    screen = os.read(keyboard, 65_536).decode()
    os.close(terminal)
    os.close(keyboard)
    assert "Reason (stands in the record): " in screen
    assert done.returncode == 5  # asked, and then nobody was there to be told
    piped = subprocess.run(command, input=b"because\n", capture_output=True, timeout=30, check=False)
    assert piped.returncode == 2
    assert b"needs a reason" in piped.stderr


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("--server {socket} -o json status", id="before the command"),
        pytest.param("status --server {socket} -o json", id="behind it"),
        pytest.param("-o yaml status --server {socket} -o json", id="the nearer one counts"),
    ],
)
def test_global_options_stand_before_or_behind_the_command(node: Path, capsys: Output, line: str) -> None:
    with impostor(node / "s.sock", http("200 OK", "application/json", '{"node":"n"}')):
        assert run(line.format(socket=node / "s.sock").split()) == 0
    assert capsys.readouterr().out == '{\n  "node": "n"\n}\n'
