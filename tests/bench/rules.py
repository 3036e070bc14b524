"""What the rules cost: µs per record of all that can apply together, records a second, and memory with many groups.

    python -m tests.bench.rules [--records 200000] [--made 3000] [--rules DIR …] [--json]

The starter pack, the rules of the folders named (or of FEIYU_VECTORS), and so many made ones of every shape: hosts,
endings, user agents, parts of URIs, patterns, ports, filters. Records are those of firms that work: opens, closes and
refusals over some thousand hosts and some hundred programs, and a share of hosts that were never seen before. Decoding
is not counted; the recorder has decoded its records anyway.
"""

import argparse
import gc
import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from telemetry.interception.document import parse
from telemetry.interception.engine import Engine
from telemetry.interception.rule import Given
from telemetry.interception.ruleset import RuleSet, build, load
from telemetry.record import Record

PACK = Path(__file__).parents[2] / "configs" / "sigma"
START = 1_800_000_000_000_000
Figures = dict[str, float]


def main() -> int:
    """Prints the figures, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--made", type=int, default=3000, help="rules that are made for this")
    parser.add_argument("--rules", type=Path, action="append", default=[], help="a folder of rules")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    vectors = os.environ.get("FEIYU_VECTORS")
    folders = chosen.rules or ([Path(vectors) / "sigma"] if vectors else [])
    given = [load([PACK]) if PACK.is_dir() else RuleSet(), load(folders), made(chosen.made)]
    stream = records(chosen.records)
    figures: Figures = {}
    for name, sets in (("pack", given[:1]), ("pack_and_others", given[:2]), ("all", given)):
        figures |= {f"{name}_{key}": value for key, value in cost(joined(sets), stream).items()}
    figures |= memory()
    if chosen.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name:40} {value:12.2f}")
    return 0


def cost(rules: RuleSet, stream: list[Record]) -> Figures:
    """CPU of the rules alone, the first pass (nothing remembered yet) and the second."""
    figures: Figures = {"rules": len(rules)}
    began = time.process_time()
    engine = Engine(rules)
    figures["build_ms"] = (time.process_time() - began) * 1e3
    gc.collect()
    for name in ("first", "then"):
        began = time.process_time()
        for record in stream:
            engine.take(record)
        used = time.process_time() - began
        figures |= {f"us_per_record_{name}": used * 1e6 / len(stream), f"records_per_s_{name}": len(stream) / used}
    figures["hits"] = len(engine.hits)
    return figures


def memory(groups: int = 100_000) -> Figures:
    """What a correlation's groups take, and what storing them costs."""
    text = """
{title: every flow, name: f, logsource: {category: proxy}, detection: {s: {tenant|exists: true}, condition: s}}
---
{title: count, name: c, correlation: {type: value_count, rules: [f], group-by: [src_ip], timespan: 1h,
  condition: {gte: 50, field: cs-host}}}
"""
    rules, problems = build(parse(text, "bench"), Given())
    assert not problems, problems
    engine = Engine(rules)
    gc.collect()
    before = _resident()
    for number in range(groups * 3):
        n = number % (groups * 3 // 2)  # half as many again as are kept
        engine.take(_record(number, "open", client_ip=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", host=f"h{number % 7}"))
    gc.collect()
    grown = _resident() - before
    began = time.process_time()
    data = engine.dump()
    took = time.process_time() - began
    return {
        "groups": engine.groups,
        "groups_forgotten": engine.evicted,
        "groups_MB": grown / 1e6,
        "groups_stored_MB": len(data) / 1e6,
        "groups_store_ms": took * 1e3,
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def joined(sets: list[RuleSet]) -> RuleSet:
    """One set of several."""
    found = RuleSet()
    for each in sets:
        found.rules |= each.rules
        found.correlations |= each.correlations
    return found


def made(count: int) -> RuleSet:
    """Rules of every shape, none of which such records fulfil often."""
    shapes: list[Any] = [
        lambda n: {"s": {"cs-host|endswith": [f".bad{n}-{k}.example" for k in range(5)]}, "condition": "s"},
        lambda n: {"s": {"cs-host": [f"c2-{n}-{k}.example" for k in range(10)]}, "condition": "s"},
        lambda n: {"s": {"c-useragent|contains": f"Implant{n}/"}, "condition": "s"},
        lambda n: {"s": {"c-useragent|startswith": f"tool{n}", "cs-method": "POST"}, "condition": "s"},
        lambda n: {
            "s": {"c-uri|contains": f"/gate{n}.php"},
            "f": {"cs-host|endswith": ".ok"},
            "condition": "s and not f",
        },
        lambda n: {"s": {"c-uri|re": f"/[a-z]{{8}}/id{n}\\.(php|asp)$"}, "condition": "s"},
        lambda n: {"s": {"c-useragent": f"Mozilla/4.0 (compatible; MSIE {n}*)"}, "condition": "s"},
        lambda n: {"s1": {"cs-host": f"x{n}.example"}, "s2": {"ja4": f"t13d{n:04}h2_x"}, "condition": "1 of s*"},
        lambda n: {"s": {"dst_ip": [f"198.51.{n % 256}.{k}" for k in range(20)], "dst_port": 443}, "condition": "s"},
        lambda n: {"s": {"cs-host": f"big{n}.example", "cs-bytes|gte": 1000000}, "condition": "s"},
    ]
    documents = [
        {
            "title": f"made {n}",
            "name": f"made-{n}",
            "logsource": {"category": "proxy"},
            "detection": shapes[n % len(shapes)](n),
        }
        for n in range(count)
    ]
    text = "---\n".join(yaml.dump(document, Dumper=yaml.CSafeDumper) for document in documents)
    rules, problems = build(parse(text, "made"), Given())
    assert not problems, problems[:3]
    return rules


def records(count: int) -> list[Record]:
    """What firms do all day, evenly over an hour."""
    rng = random.Random(7)
    hosts = [f"www{n}.service{n % 400}.example" for n in range(4000)]
    agents = [
        f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0" for n in range(120)
    ]
    agents += [f"curl/8.{n}.0" for n in range(20)] + [f"python-requests/2.{n}" for n in range(20)]
    made_: list[Record] = []
    while len(made_) < count:
        n = len(made_)
        host = f"n{n}.cdn.example" if rng.random() < 0.03 else rng.choice(hosts)
        fields: dict[str, Any] = {
            "tenant": f"t{rng.randrange(300)}", "host": host, "user_agent": rng.choice(agents), "flow": f"F{n:015}",
            "client_ip": f"10.{rng.randrange(300) >> 8}.{rng.randrange(256)}.{rng.randrange(200)}",
                "line": f"hk{rng.randrange(4)}",
            "address": f"203.0.{rng.randrange(256)}.{rng.randrange(256)}", "user": f"u{rng.randrange(3000)}",
        }  # fmt: skip
        if rng.random() < 0.2:
            fields |= {
                "method": rng.choice(["GET", "GET", "POST"]),
                "port": 80,
                "path": f"/a/{rng.randrange(5000)}/index.html",
            }
        if rng.random() < 0.03:
            made_.append(
                _record(n, "deny", **{**fields, "decision": "deny", "reason": "not-whitelisted"}, count_of=count)
            )
            continue
        made_.append(_record(n, "open", **fields, count_of=count))
        end = {"bytes_out": rng.randrange(5000), "bytes_in": rng.randrange(90_000), "duration": rng.randrange(10**7)}
        hello = {"sni": host, "ja4": f"t13d151{rng.randrange(9)}h2_8daaf6152771", "cause": "client-closed"}
        made_.append(_record(n + 1, "close", **{**fields, **end, **hello}, count_of=count))
    return made_[:count]


def _record(number: int, kind: str, count_of: int = 0, **fields: Any) -> Record:
    step = 3_600_000_000 // count_of if count_of else 1000
    base: dict[str, Any] = {
        "method": "CONNECT",
        "port": 443,
        "tenant": "t1",
        "decision": "permit",
        "service": "service",
        "grant": "g1",
    }
    return Record(
        node="gw1",
        boot="0000abcd",
        worker="w0",
        seq=number + 1,
        kind=kind,
        time=START + number * step,
        **{**base, **fields},
    )


if __name__ == "__main__":
    sys.exit(main())
