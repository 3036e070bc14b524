"""What control tells /metrics in its heartbeats: what expires next, how processes and reloads are."""

import time
from pathlib import Path

import pytest

from ops.api import facts as facts_module
from ops.api.acts import Acts
from ops.api.facts import Facts, certificates, ends_of, of_processes
from ops.settings import parse_settings
from telemetry.record import decode
from tests.gateway.secure_kit import Pki
from tests.ops.control_kit import GRANT, running
from tests.telemetry import spool_kit

CHILDREN = [
    {"name": "recorder", "role": "recorder", "state": "ready", "restarts": 0, "degraded": False},
    {"name": "w0", "role": "worker", "state": "ready", "restarts": 2, "degraded": False},
    {"name": "w1", "role": "worker", "state": "backoff", "restarts": 9, "degraded": True},
    {"name": "odd", "role": "unheard of", "state": "ready", "restarts": 1},
]


def test_processes_are_summed_by_role_and_a_refused_reload_stays_until_one_is_accepted() -> None:
    reload = {"result": "rejected", "accepted": 3, "refused": 1}
    values = of_processes({"children": CHILDREN, "reload": reload})
    assert values == {
        "degraded": 1,
        "restarts_recorder": 0,
        "ready_recorder": 1,
        "wanted_recorder": 1,
        "restarts_worker": 11,
        "ready_worker": 1,
        "wanted_worker": 2,
        "reload_accepted": 3,
        "reload_refused": 1,
        "reload_pending": 1,
    }
    assert of_processes({"children": [], "reload": {"result": "ok"}})["reload_pending"] == 0
    assert of_processes({}) == {}


def test_certificates_are_those_of_listeners_sinks_and_the_ca(tmp_path: Path) -> None:
    now = int(time.time())
    pki = Pki(tmp_path, now)
    settings = parse_settings(
        f'node: gw1\nstate_dir: {tmp_path}/state\nlisteners: [{{name: a, kind: http, address: "1.2.3.4:1", tls: '
        f"{{certificate: {pki.certificate}, key: {pki.key}}}}}]\n"
        f'streams: [{{name: s, kind: syslog, to: "x:1", certificate: {tmp_path}/none, key: /k}}]\n',
        "f",
    )
    paths = certificates(settings)
    assert {path.name for path in paths} == {"root.crt", "issuing.crt", "server.crt", "none"}
    ends = sorted(ends_of(paths))
    assert len(ends) == 2, "the server's and its issuer's"
    assert ends[0] > now


async def test_the_next_end_of_each_kind_is_found_and_written_as_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "SHARE", 0)
    spool = spool_kit.Node(tmp_path)
    writer = spool.writer("control.1")
    async with running(tmp_path, writer=writer) as node:
        await node.set_up()
        await node.add("grants", **GRANT)
        facts = Facts(node.authority, Acts(writer), parse_settings(f"{HEAD}state_dir: {tmp_path}/state\n", "f"))
        values = await facts.values()
        everything, _ = await node.authority.read(lambda register: register.everything())
        grants = [grant.window.valid_until for grant in everything["grants"]]
        assert values["next_expiry_grant"] == min(grants)
        assert values["next_expiry_tenant"] == min(tenant.valid_until for tenant in everything["tenants"])
        earlier = min(grants) - 1000
        window = {**GRANT["window"], "valid_until": earlier}
        await node.add("grants", **{**GRANT, "window": window, "lines": ["hk1"], "purpose": "other"})
        assert (await facts.values())["next_expiry_grant"] == earlier, "a change is seen with the next heartbeat"
        assert (values["register_ok"], values["published_ok"]) == (1, 1)
        Acts(writer).heartbeat(values, 7)
    lines = [line for file in spool.spool.glob("*control.1*.jsonl") for line in file.read_bytes().splitlines()]
    beats = [record for record in map(decode, lines) if record.kind == "heartbeat"]
    assert [(beat.values, beat.revision, beat.worker) for beat in beats] == [(values, 7, "control.1")]


HEAD = 'node: gw1\nlisteners: [{name: a, address: "1.2.3.4:1"}]\n'


@pytest.mark.parametrize(
    "text", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"]
)
def test_a_file_that_is_no_certificate_is_left_out(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.crt").write_bytes(text)
    assert list(ends_of([tmp_path / "x.crt", tmp_path / "none.crt"])) == []
