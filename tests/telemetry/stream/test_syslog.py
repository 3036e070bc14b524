"""Syslog over TLS: framing that no record breaks, nothing lost over broken connections, and a real rsyslog."""

import json
import re
from pathlib import Path

import pytest

from telemetry.record import encode
from telemetry.stream import pump, to_syslog
from telemetry.stream.event import Event
from telemetry.stream.rfc5424 import message
from telemetry.stream.spec import FORMATS, Sink, stream_kind
from telemetry.stream.to_syslog import SyslogSink
from tests.gateway.secure_kit import Pki
from tests.telemetry.stream.kit import Log, Receiver, certificates, free_port, program, running, until
from tests.telemetry.stream.records import EVERY, HOSTILE, ORDINARY

# RFC 5424 6, with the printable characters that it allows in each place
GRAMMAR = re.compile(
    rb"<(0|[1-9]\d{0,2})>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]{1,255} feiyu [!-~]{1,128} [!-~]{1,32} "
    rb'\[feiyu@32473 id="(?:[^"\\\]]|\\["\\\]])*"\] (\{.*\})'
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "FIRST", 0.05)
    monkeypatch.setattr(pump, "POLL", 0.02)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return certificates(tmp_path_factory.mktemp("pki"))


def spec_of(pki: Pki, port: int, **fields: str) -> Sink:
    return Sink(name="soc", kind="syslog", to=f"127.0.0.1:{port}", ca=str(pki.trusted), begin="oldest", **fields)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("sentence", EVERY)
def test_every_record_is_one_message_of_the_grammar(sentence: str, form: str) -> None:
    given = EVERY[sentence]
    text = message(Event(3, encode(given), given, stream_kind(given)), form)
    found = GRAMMAR.fullmatch(text)
    assert found
    assert 13 * 8 <= int(found[1]) < 14 * 8
    json.loads(found[2])
    assert not re.search(rb"[\x00-\x1f\x7f]", text)


def test_a_refusal_is_a_warning_and_a_finding_an_error() -> None:
    severities = {}
    for sentence in ("a refusal", "a rule acted", "a tunnel opens"):
        given = ORDINARY[sentence]
        text = message(Event(3, encode(given), given, stream_kind(given)), "native")
        severities[sentence] = int(text[1 : text.index(b">")]) % 8
    assert severities == {"a refusal": 4, "a rule acted": 3, "a tunnel opens": 6}


async def test_hostile_records_arrive_one_by_one_as_they_are(tmp_path: Path, pki: Pki) -> None:
    log = Log(tmp_path)
    log.append(*(encode(given) for given in EVERY.values()))
    async with Receiver(pki) as receiver:
        spec = spec_of(pki, receiver.port)
        async with log.pumping(spec, SyslogSink(spec)):
            await until(lambda: len(receiver.frames) == len(EVERY) - 1, "all but the heartbeat")
    assert receiver.faults == []
    wanted = [json.loads(encode(given)) for given in EVERY.values() if given.kind != "heartbeat"]
    assert receiver.bodies() == wanted


async def test_broken_connections_lose_nothing_and_repeat_with_the_same_id(tmp_path: Path, pki: Pki) -> None:
    log = Log(tmp_path)
    async with Receiver(pki) as receiver:
        spec = spec_of(pki, receiver.port)
        async with log.pumping(spec, SyslogSink(spec, settle=0.3)) as running_pump:
            state = running_pump.state
            for _ in range(5):
                frames, failures = len(receiver.frames), state.failures
                log.flows(200)
                await until(lambda: len(receiver.frames) > frames + 20, "some of this round")  # noqa: B023
                receiver.cut()
                await until(lambda: state.failures > failures, "the break is noticed")  # noqa: B023
            seen = lambda: {body["flow"] for body in receiver.bodies()}  # noqa: E731
            await until(lambda: len(seen()) == 1000, "every flow")
    by_id: dict[bytes, bytes] = {}
    for frame in receiver.frames:
        id_ = frame.split(b'id="')[1].split(b'"')[0]
        assert by_id.setdefault(id_, frame) == frame, "what comes twice is the same"
    assert len(by_id) == 1000


async def test_a_server_that_stops_reading_holds_its_own_sink_only(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_syslog, "PATIENCE", 1.0)
    log = Log(tmp_path)
    async with Receiver(pki) as slow, Receiver(pki) as quick:
        first, second = spec_of(pki, slow.port), Sink(**{**to_dict(spec_of(pki, quick.port)), "name": "other"})
        slow.reading.clear()
        async with log.pumping(first, SyslogSink(first)) as held, log.pumping(second, SyslogSink(second)):
            log.flows(1_500, user_agent="x" * 250)
            log.flows(1_500, user_agent="x" * 250)
            await until(lambda: len(quick.frames) >= 3_000, "all at the quick one")
            await until(lambda: held.state.failures, "the slow one is given up for now")
            assert "does not take" in held.state.fault or held.state.connected
            assert held.state.lag_records > 500
            slow.reading.set()
            await until(lambda: len({body["flow"] for body in slow.bodies()}) == 3_000, "all at the slow one, too")


def to_dict(spec: Sink) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


async def test_a_dead_server_costs_a_wait_and_a_wrong_certificate_is_refused(tmp_path: Path, pki: Pki) -> None:
    log = Log(tmp_path)
    log.flows(5)
    port = free_port()
    spec = spec_of(pki, port)
    async with log.pumping(spec, SyslogSink(spec)) as running_pump:
        state = running_pump.state
        await until(lambda: state.failures >= 2, "tries")
        assert (state.connected, state.lag_records) == (False, 5)
        assert "refused" in state.fault.lower() or "Connect call failed" in state.fault
        await until(lambda: state.lag_seconds > 0, "the age of what waits")
        async with Receiver(certificates(tmp_path / "others"), port) as stranger:
            await until(lambda: "CERTIFICATE_VERIFY_FAILED" in state.fault, "the reason")
            assert stranger.frames == []
        async with Receiver(pki, port) as receiver:
            await until(lambda: len(receiver.frames) == 5, "all that waited")
            assert (state.connected, state.fault) == (True, "")


async def test_a_real_rsyslog_takes_every_record(tmp_path: Path, pki: Pki) -> None:
    rsyslogd, port, out = program("rsyslogd"), free_port(), tmp_path / "out.log"
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(
        f"""global(workDirectory="{tmp_path}" maxMessageSize="128k" DefaultNetstreamDriver="gtls"
  DefaultNetstreamDriverCAFile="{pki.trusted}" DefaultNetstreamDriverCertFile="{pki.certificate}"
  DefaultNetstreamDriverKeyFile="{pki.key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="parts" type="list") {{ property(name="hostname") constant(value=" ") property(name="app-name")
  constant(value=" ") property(name="msgid") constant(value=" ") property(name="syslogfacility") constant(value=" ")
  property(name="msg") constant(value="\\n") }}
action(type="omfile" file="{out}" template="parts")
"""
    )
    log = Log(tmp_path)
    log.append(*(encode(given) for given in EVERY.values()))
    with running(rsyslogd, "-n", "-f", str(configuration), "-i", str(tmp_path / "pid"), port=port):
        spec = spec_of(pki, port)
        async with log.pumping(spec, SyslogSink(spec)):
            await until(lambda: out.exists() and out.read_bytes().count(b"\n") >= len(EVERY) - 1, "all lines")
            log.flows(2_000)
            await until(lambda: out.read_bytes().count(b"\n") >= len(EVERY) + 1_999, "2,000 more")
    lines = out.read_bytes().splitlines()
    wanted = [given for given in EVERY.values() if given.kind != "heartbeat"]
    for text, given in zip(lines, wanted, strict=False):
        host, app, msgid, facility, body = text.split(b" ", 4)
        assert (host, app, facility) == (b"gw1.zone.example", b"feiyu", b"13")
        assert msgid.decode() == stream_kind(given)
        assert json.loads(body) == json.loads(encode(given))
    assert len(HOSTILE) and len(lines) == len(wanted) + 2_000
