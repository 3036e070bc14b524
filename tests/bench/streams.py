"""How fast sinks take records, and what formats cost: python -m tests.bench.streams [RECORDS].

Each sink alone, one process; its other end (a file, a TLS receiver in Python, nats-server) shares the machine.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from telemetry.record import decode, encode
from telemetry.stream import pump
from telemetry.stream.event import Event
from telemetry.stream.spec import FORMATS, Sink
from telemetry.stream.to_file import FileSink
from telemetry.stream.to_nats import NatsSink
from telemetry.stream.to_syslog import SyslogSink
from tests.telemetry.stream.kit import Log, Receiver, certificates, free_port, program, running, until
from tests.telemetry.stream.records import ORDINARY


def formats(count: int = 20_000) -> None:
    line = encode(ORDINARY["a tunnel ends"])
    for form in FORMATS:
        started = time.process_time()
        for index in range(count):
            Event(index, line, decode(line), "close").body(form)
        print(f"format {form}: {(time.process_time() - started) / count * 1e6:.1f} µs a record, decoding included")


async def rate(log: Log, spec: Sink, sink: FileSink | SyslogSink | NatsSink, count: int) -> None:
    used, started = time.process_time(), time.perf_counter()
    async with log.pumping(spec, sink) as running_pump:
        await until(lambda: running_pump.state.sent >= count, "all records")
        took = time.perf_counter() - started
        cpu = (time.process_time() - used) / count * 1e6
    print(f"{spec.kind}: {count / took:,.0f} records/s, {cpu:.1f} µs of CPU a record (with the receiver, but for nats)")


async def sinks(count: int) -> None:
    pump.POLL = 0.02
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        log = Log(root, 1 << 30)
        given = [encode(ORDINARY[name]) for name in ("a tunnel opens", "a tunnel ends", "a refusal")]
        log.append(*(given[index % 3] for index in range(count)))
        await rate(log, to := Sink(name="f", kind="file", to=f"{root}/out", begin="oldest"), FileSink(to), count)
        pki = certificates(root / "pki")
        async with Receiver(pki) as receiver:
            where = f"127.0.0.1:{receiver.port}"
            to = Sink(name="s", kind="syslog", to=where, ca=str(pki.trusted), begin="oldest")
            await rate(log, to, SyslogSink(to), count)
        port = free_port()
        server = (program("nats-server"), "-js", "-sd", f"{root}/js", "-a", "127.0.0.1", "-p", str(port))
        with running(*server, port=port):
            to = Sink(name="n", kind="nats", to=f"nats://127.0.0.1:{port}", begin="oldest")
            await rate(log, to, NatsSink(to), count)


if __name__ == "__main__":
    formats()
    asyncio.run(sinks(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
