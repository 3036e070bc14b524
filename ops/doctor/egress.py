"""Tries to get packets out beside the lines in every way it knows, and says of each what stopped it.

The packets are for documentation addresses, one for each attempt; a packet socket over all devices sees whether one, or
a question on a link for its address, went out. On a whole node nothing does: where a socket would be held on its line,
the route is looked up and nothing sent.
"""

import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from gateway.line import nft, sysctl
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.plan import plan, sort_out
from gateway.line.spec import LineSpec
from ops.doctor.attempts import PORT, Attempt, NotTriedError, of_line, of_node, send, stays
from ops.doctor.watch import Seen, Watch, target

LIMIT = 15.0  # seconds for all attempts
SETTLE = 0.3  # seconds in which a packet may still come out after the last attempt
_DROPS = ("marked", "unmarked", "dropped")
_ROUTING = {
    errno.EACCES: "routing: prohibit",
    errno.EHOSTUNREACH: "routing: unreachable",
    errno.ENETUNREACH: "routing: unreachable, or no route",
    errno.EINVAL: "routing: no route for this device",
}
_FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_TOLD = ("accept_ra", "accept_redirects", "secure_redirects")
_ANSWERING = ("proxy_arp", "proxy_ndp", "arp_ignore")


class Verdict(StrEnum):
    """held: it can only go, or went, by its own line to the line's gateway; open: no packet was tried, but nothing
    would stop one."""

    STOPPED = "stopped"
    HELD = "held"
    LEAKED = "LEAKED"
    OPEN = "OPEN"
    NOT_TRIED = "not tried"


BAD = frozenset({Verdict.LEAKED, Verdict.OPEN})


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt, and what stopped it or where it got out. line is empty where it is the node's; kind as in Attempt,
    with the family: "tcp4"."""

    verdict: Verdict
    line: str
    attempt: str
    kind: str
    by: str


@dataclass(slots=True)
class Tried:
    """What happened to one attempt. refused: errno, or 0; rose: counters of drops that rose; stays: the route leads to
    the line, so nothing was sent; why_not: nothing could be sent."""

    attempt: Attempt
    number: int
    refused: int = 0
    rose: tuple[str, ...] = ()
    stays: bool = False
    why_not: str = ""


def examine(node: NodeConfig, entries: Iterable[LineEntry], only: Sequence[str] = ()) -> list[Result]:
    """All attempts of the node and of its lines (only: of these), in the namespace of the calling thread. Raises
    PermissionError without CAP_NET_RAW, nft.NftError."""
    lines, problems = sort_out(entries, node)
    table = nft.read_table()
    chosen = [line for line in lines if not only or line.id in only]
    wanted = [*of_node(node), *(attempt for line in chosen for attempt in of_line(line, lines, node))]
    results = _judge_all(wanted)
    for name, problem in sorted(problems.items()):
        if not only or name in only:
            results.append(Result(Verdict.NOT_TRIED, name, "every way", "", problem))
    results += standing(lines, node, table, sysctl.read(plan(lines, node).sysctls))
    return results


def _judge_all(wanted: Sequence[Attempt]) -> list[Result]:
    end = time.monotonic() + LIMIT
    seen: list[list[Seen]] = []
    tried: list[Tried] = []
    with closing(Watch()) as watch:
        before = nft.read_counters()
        for number, attempt in enumerate(wanted):
            if time.monotonic() > end:
                late = "out of time; name the line: feiyu doctor egress --line ID"
                tried.append(Tried(attempt, number, why_not=late))
                seen.append([])
                continue
            one = _try(attempt, number)
            after = nft.read_counters()
            one.rose = tuple(name for name in after if _is_drop(name) and after[name][0] > before.get(name, (0, 0))[0])
            before = after
            tried.append(one)
            seen.append(watch.seen())
        rest = watch.seen(SETTLE)
    return [judge(one, [*mine, *rest]) for one, mine in zip(tried, _own(tried, seen), strict=True)]


def _own(tried: Sequence[Tried], seen: Sequence[list[Seen]]) -> Iterator[list[Seen]]:
    """What each attempt saw, and what came out in the next attempts' time: a queue may hold a packet back a little."""
    for number in range(len(tried)):
        yield [packet for step in seen[number:] for packet in step]


def _try(attempt: Attempt, number: int) -> Tried:
    one, aim = Tried(attempt, number), target(attempt.version, number)
    try:
        if attempt.asked:
            try:
                one.stays = stays(attempt, aim)
            except OSError as error:
                one.refused = error.errno or 0
        if not one.stays and not one.refused:
            one.refused = send(attempt, aim, number)
    except NotTriedError as reason:
        one.why_not = str(reason)
    return one


def _is_drop(counter: str) -> bool:
    return counter in _DROPS or counter.endswith("_dropped")


def judge(one: Tried, seen: Iterable[Seen]) -> Result:
    """The verdict on one attempt. seen: packets that went out in or after it; those of others are left out."""
    attempt = one.attempt
    aim = target(attempt.version, one.number)
    own = [p for p in seen if p.target == aim and (p.asked or p.port == PORT + one.number)]
    device, sources = attempt.held
    away = sorted({p.device for p in own if p.asked or p.device != device or p.source not in sources})
    if away:
        verdict, by = Verdict.LEAKED, f"a packet left by {', '.join(away)}"
    elif own:
        verdict, by = Verdict.HELD, f"routing: it left by {device}, to the line's gateway; nft did not stop it"
    elif one.why_not:
        verdict, by = Verdict.NOT_TRIED, one.why_not
    elif one.stays:
        verdict, by = Verdict.HELD, "routing: the line's table leads to the line; not sent"
    else:
        verdict, by = Verdict.STOPPED, _stopped_by(one)
    return Result(verdict, attempt.line, attempt.name, f"{attempt.kind}{attempt.version}", by)


def _stopped_by(one: Tried) -> str:
    if one.rose and one.refused in (0, errno.EPERM):
        return f"nft: counter {', '.join(one.rose)}"
    if one.refused == errno.EPERM:
        return "a filter that does not count here (EPERM)"
    if one.refused:
        return _ROUTING.get(one.refused, os.strerror(one.refused))
    return "not seen: no packet came out"


def standing(
    lines: Sequence[LineSpec], node: NodeConfig, table: str, settings: Mapping[str, str | None]
) -> list[Result]:
    """What is not tried but read: forwarding, routes told by others, answers for others' addresses, packet sockets.
    table: the nft table as text; settings: the plan's sysctls as the kernel has them."""
    wanted = plan(lines, node).sysctls
    wrong = [path for path, value in wanted.items() if settings.get(path) not in (value, None)]
    guards = [] if any(path in wrong for path in _FORWARDING) else ["sysctl: forwarding is off"]
    if "hook forward" in table and "policy drop" in table.partition("hook forward")[2].partition("\n")[0]:
        guards.append("nft: chain forward")
    found = [Result(Verdict.STOPPED if guards else Verdict.OPEN, "", "forwarded packet", "", "; ".join(guards))]
    for name, keys in (
        ("route told by an advertisement or redirect", _TOLD),
        ("answer for an address of another device", _ANSWERING),
    ):
        open_ = [path.replace("/", ".") for path in wrong if path.endswith(keys)]
        found.append(
            Result(
                Verdict.OPEN if open_ else Verdict.STOPPED, "", name, "", f"sysctl: {', '.join(open_) or 'as planned'}"
            )
        )
    held = "nft does not see it; CAP_NET_RAW is needed, and feiyu.service forbids it (RestrictAddressFamilies)"
    return [*found, Result(Verdict.NOT_TRIED, "", "packet socket (AF_PACKET)", "", held)]
