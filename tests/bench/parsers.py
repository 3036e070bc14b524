"""What the readers of a connection's first bytes cost, each over 20,000 distinct inputs: microseconds, median and p99.

    python -m tests.bench.parsers [--json]

token: a Proxy-Authorization value to credential and tenant, none seen before; target and classifier: an authority to
its one form and an address to its verdict, together; hello: a ClientHello to what a session needs of it. "known" is a
program that was seen to this host before, "fresh" one that was not, "shuffled" a browser that orders its extensions
anew each time (with GREASE and ECH), "ja4" the fingerprint's part of reading a fresh or shuffled one.
"""

import argparse
import base64
import hashlib
import json
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from gateway.handshake.client_hello import ClientHello, HelloReader
from gateway.handshake.hello_memo import HelloMemo
from gateway.identity import Identifier
from tenants.model import Credential
from tests.bench.hello import client_hello
from tests.bench.large_policy import KEY, NOW, PUBLIC, UNTIL, tenant
from whitelist.address import classify
from whitelist.document import Document
from whitelist.publisher import Publisher
from whitelist.snapshot import Snapshot
from whitelist.target import parse_authority

INPUTS = 20_000
TENANTS = 2_000
LIMITS = {"token": 5.0, "target and classifier": 10.0}  # microseconds at the median


def main() -> int:
    """Prints a table, or JSON. 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    chance = random.Random(7)
    found = {"token": tokens(chance), "target and classifier": targets(chance), **hellos(chance)}
    if as_json:
        print(json.dumps(found))
    else:
        for name, figures in found.items():
            limit = f"  (limit {LIMITS[name]:g})" if name in LIMITS else ""
            print(f"{name:<24} p50 {figures['p50']:6.2f} µs   p99 {figures['p99']:6.2f} µs{limit}")
    return int(any(found[name]["p50"] > limit for name, limit in LIMITS.items()))


def timed(what: Callable[[Any], object], inputs: Iterable[Any]) -> dict[str, float]:
    """Each input once; the clock's own cost, some 50 ns, is in the figures."""
    clock, spent = time.perf_counter_ns, []
    for one in inputs:
        start = clock()
        what(one)
        spent.append(clock() - start)
    centiles = statistics.quantiles(spent, n=100)
    return {"p50": round(centiles[49] / 1e3, 2), "p99": round(centiles[98] / 1e3, 2), "inputs": len(spent)}


def tokens(chance: random.Random) -> dict[str, float]:
    """Credentials of many firms, in a policy as a worker reads it."""
    made, values = [], []
    for n in range(INPUTS):
        token = base64.urlsafe_b64encode(chance.randbytes(32)).decode().rstrip("=")
        name = f"c-{n:010d}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        made.append(Credential(id=name, tenant=f"firm-{n % TENANTS}", token_sha256=digest, valid_until=UNTIL))
        values.append(b"Basic " + base64.b64encode(f"{name}:{token}".encode()))
    with tempfile.TemporaryDirectory(prefix="feiyu-bench-") as directory:
        with Publisher(Path(directory), KEY) as publisher:
            publisher.publish_all(Document(tenants=map(tenant, range(TENANTS)), credentials=made), 1)
        snapshot = Snapshot.open(Path(directory), PUBLIC)
        identifier = Identifier(snapshot)
        chance.shuffle(values)
        for value in values[:100]:
            identifier.identify(value, NOW)
        identifier.forget()
        result = timed(lambda value: identifier.identify(value, NOW), values)
        snapshot.close()
    return result


def targets(chance: random.Random) -> dict[str, float]:
    """Names as clients send them: nine in ten ordinary, others in capitals, with a dot, international, addresses."""
    made = []
    for n in range(INPUTS):
        host = f"n{n}.service-{chance.randrange(2_000)}.example.com"
        match n % 40:
            case 0:
                host = host.upper()
            case 1:
                host += "."
            case 2:
                host = f"bücher-{n}.example.com"
            case 3:
                host = str(IPv4Address(chance.randrange(0x0B000000, 0x64000000)))
        six = IPv6Address(0x2600 << 112 | chance.getrandbits(112))
        address = str(six if n & 1 else IPv4Address(chance.randrange(0x0B000000, 0x64000000)))
        made.append((f"{host}:443".encode(), address))

    def both(one: tuple[bytes, str]) -> None:
        parse_authority(one[0])
        classify(one[1])

    return timed(both, made)


def hellos(chance: random.Random) -> dict[str, dict[str, float]]:
    """A library's hello to many hosts, and a browser's."""
    plain = client_hello("n00000.example.com")
    fresh = [_renewed(plain.replace(b"n00000", b"n%05d" % n), chance) for n in range(INPUTS)]
    memo = HelloMemo()
    result = {"hello fresh": timed(lambda data: _session(memo, data), fresh)}
    memo = HelloMemo()
    few = [_renewed(plain.replace(b"n00000", b"n%05d" % (n % 100)), chance) for n in range(INPUTS)]
    for data in few[:100]:
        _session(memo, data)
    result["hello known"] = timed(lambda data: _session(memo, data), few)
    shuffled = [_shuffled(plain, chance) for _ in range(INPUTS)]
    memo = HelloMemo()
    result["hello shuffled"] = timed(lambda data: _session(memo, data), shuffled)
    for name, said in (("fresh", fresh), ("shuffled", shuffled)):
        result[f"ja4 of a {name} one"] = timed(lambda hello: hello.ja4, list(map(_read, said)))
    return result


def _session(memo: HelloMemo, data: bytes) -> None:
    """What a session does with a whole hello."""
    if memo.recall(data) is None:
        hello = HelloReader().read(data)
        assert hello is not None
        memo.learn(data, hello)


def _read(data: bytes) -> ClientHello:
    hello = HelloReader().read(data)
    assert hello is not None
    return hello


def _renewed(data: bytes, chance: random.Random) -> bytes:
    """With a random and a session id of its own."""
    return data[:11] + chance.randbytes(32) + data[43:44] + chance.randbytes(32) + data[76:]


def _shuffled(data: bytes, chance: random.Random) -> bytes:
    """As a browser sends it: GREASE, an encrypted hello of one of four lengths, the extensions in any order."""
    body = _renewed(data, chance)[9:]
    at = 35 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    start, extensions = at + 2, []
    while start < len(body):
        size = 4 + int.from_bytes(body[start + 2 : start + 4])
        extensions.append(body[start : start + size])
        start += size
    payload = chance.choice((144, 176, 208, 240))
    ech = b"\0\0\1\0\1" + chance.randbytes(1) + b"\0\x20" + chance.randbytes(32)
    ech += struct.pack(">H", payload) + chance.randbytes(payload)
    extensions += [struct.pack(">HH", 0xFE0D, len(ech)) + ech, chance.choice((b"\x1a\x1a", b"\x4a\x4a")) + b"\0\0"]
    chance.shuffle(extensions)
    block = b"".join(extensions)
    body = body[:at] + struct.pack(">H", len(block)) + block
    return b"\x16\x03\x01" + struct.pack(">H", len(body) + 4) + b"\1" + len(body).to_bytes(3) + body


if __name__ == "__main__":
    raise SystemExit(main())
