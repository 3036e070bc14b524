"""Tries to get packets out beside the lines in every way it knows, and says of each what stopped it.

The packets are for documentation addresses, one for each attempt, or for a target that was named; a packet socket over
all devices sees whether one, or a question on a link for its address, went out. On a whole node nothing does: where a
socket would be held on its line, the route is looked up and nothing sent.
"""

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from gateway.line import nft, sysctl
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.plan import is_right, plan, sort_out
from gateway.line.spec import LineSpec
from ops.doctor import host, programs
from ops.doctor.aim import Aim, Named, aim_of
from ops.doctor.attempts import Attempt, NotTriedError, of_line, of_node, send, stays
from ops.doctor.watch import Seen, Watch

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
    """What happened to one attempt. refused: errno, or 0; port: that it was sent from; rose: counters of drops that
    rose; stays: the route leads to the line, so nothing was sent; why_not: nothing could be sent."""

    attempt: Attempt
    aim: Aim
    refused: int = 0
    port: int = 0
    rose: tuple[str, ...] = ()
    stays: bool = False
    why_not: str = ""


def examine(
    node: NodeConfig, entries: Iterable[LineEntry], only: Sequence[str] = (), named: Named | None = None
) -> list[Result]:
    """All attempts of the node and of its lines (only: of these), in the namespace of the calling thread. named: what
    they are to reach, in the families that it has. Raises PermissionError without CAP_NET_RAW, nft.NftError."""
    lines, problems = sort_out(entries, node)
    table = nft.read_table()
    chosen = [line for line in lines if not only or line.id in only]
    wanted = [*of_node(node), *(attempt for line in chosen for attempt in of_line(line, lines, node))]
    if named is not None:
        wanted = [attempt for attempt in wanted if attempt.version in named.addresses]
    results = _judge_all(wanted, named)
    for name, problem in sorted(problems.items()):
        if not only or name in only:
            results.append(Result(Verdict.NOT_TRIED, name, "every way", "", problem))
    results += standing(lines, node, table, sysctl.read(plan(lines, node).sysctls))
    return results


def _judge_all(wanted: Sequence[Attempt], named: Named | None) -> list[Result]:
    end = time.monotonic() + LIMIT
    seen: list[list[Seen]] = []
    tried: list[Tried] = []
    known = host.neighbours(named.addresses.values()) if named else []  # they are not asked for again
    with closing(Watch(named.addresses if named else None)) as watch:
        before = nft.read_counters()
        for number, attempt in enumerate(wanted):
            aim = aim_of(attempt.version, number, named)
            if time.monotonic() > end:
                late = "out of time; name the line: feiyu doctor egress --line ID"
                tried.append(Tried(attempt, aim, why_not=late))
                seen.append([])
                continue
            one = _try(attempt, aim)
            after = nft.read_counters()
            one.rose = tuple(name for name in after if _is_drop(name) and after[name][0] > before.get(name, (0, 0))[0])
            before = after
            tried.append(one)
            seen.append(watch.seen())
        seen.append(watch.seen(SETTLE))
    asked = [Seen(device, True, "", address, 0) for device, address in known]
    return [judge(one, own, [*asked, *so_far]) for one, own, so_far in _own(tried, seen)]


def _own(tried: Sequence[Tried], seen: Sequence[list[Seen]]) -> Iterator[tuple[Tried, list[Seen], list[Seen]]]:
    """For each attempt, what came out in its time or later: a queue may hold a packet back a little; and what came out
    up to the next one's time: a neighbour that was asked for before is not asked for again."""
    for number, one in enumerate(tried):
        yield one, [p for step in seen[number:] for p in step], [p for step in seen[: number + 2] for p in step]


def _try(attempt: Attempt, aim: Aim) -> Tried:
    one = Tried(attempt, aim)
    try:
        if attempt.asked:
            try:
                one.stays = stays(attempt, aim.address)
            except OSError as error:
                one.refused = error.errno or 0
        if not one.stays and not one.refused:
            one.refused, one.port = send(attempt, aim)
    except NotTriedError as reason:
        one.why_not = str(reason)
    return one


def _is_drop(counter: str) -> bool:
    return counter in _DROPS or counter.endswith("_dropped")


def judge(one: Tried, seen: Iterable[Seen], so_far: Iterable[Seen] = ()) -> Result:
    """The verdict on one attempt. seen: packets that went out in or after it; so_far: in or before it; those of others
    are left out."""
    attempt = one.attempt
    own = [packet for packet in seen if _is_own(packet, one)]
    asked = [packet for packet in so_far if one.aim.named and packet.asked and packet.target == one.aim.address]
    if not own and not (one.refused or one.rose or one.stays or one.why_not):
        # it waits, as an earlier one may, for the answer of a neighbour with the target's address
        own = [packet for packet in asked if attempt.device in ("", packet.device)]
    device, sources = attempt.held
    # Where the link has a neighbour with the target's address, what goes to it and what goes to the gateway look alike:
    # both are told as leaks.
    past = attempt.onlink or device in {packet.device for packet in asked}
    away = sorted({p.device for p in own if p.asked or past or p.device != device or p.source not in sources})
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


def _is_own(packet: Seen, one: Tried) -> bool:
    """By the address, which no other attempt has; for a target that was named, by the port it was sent from."""
    if packet.target != one.aim.address:
        return False
    if not one.aim.named:
        return packet.asked or packet.port == one.aim.own
    sent_to = one.aim.own if one.attempt.kind in ("icmp", "nd") else one.aim.port
    return not packet.asked and one.port != 0 and (packet.port, packet.from_port) == (sent_to, one.port)


def _stopped_by(one: Tried) -> str:
    if one.rose and one.refused in (0, errno.EPERM):
        return f"nft: counter {', '.join(one.rose)}"
    if one.refused == errno.EPERM:
        return "a filter that does not count here (EPERM)"
    if one.refused:
        return _ROUTING.get(one.refused, os.strerror(one.refused))
    return "not seen: no packet came out"


def _behind() -> Result:
    """What could send a packet elsewhere behind the table, by rules of others: seen only, for what they do with which
    packet only they know."""
    listing = dict(enumerate(programs.listed("nft", "-j", "list", "ruleset"))).get(0, {})
    chains = [item["chain"] for item in listing.get("nftables", []) if "chain" in item]
    there = [
        f"nft netdev table {chain['table']} chain {chain['name']}"
        for chain in chains
        if (chain["family"], chain.get("hook")) == ("netdev", "egress")
    ]
    for _, device in socket.if_nameindex():
        filters = programs.listed("tc", "-j", "filter", "show", "dev", device, "egress")
        there += [f"tc filter {one['kind']} on {device}" for one in filters if one.get("options")]
    name = "redirect behind the table (nft netdev, tc)"
    if there:
        return Result(Verdict.NOT_TRIED, "", name, "", f"see what it does: {'; '.join(sorted(set(there)))}")
    if not programs.find("tc"):
        return Result(Verdict.NOT_TRIED, "", name, "", "tc is not installed, so its filters cannot be seen")
    return Result(Verdict.STOPPED, "", name, "", "there is none")


def standing(
    lines: Sequence[LineSpec], node: NodeConfig, table: str, settings: Mapping[str, str | None]
) -> list[Result]:
    """What is not tried but read: forwarding, routes told by others, answers for others' addresses, packet sockets.
    table: the nft table as text; settings: the plan's sysctls as the kernel has them."""
    wanted = plan(lines, node).sysctls
    wrong = [path for path, value in wanted.items() if not is_right(path, value, settings.get(path))]
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
    found.append(_behind())
    held = "nft does not see it; CAP_NET_RAW is needed, and feiyu.service forbids it (RestrictAddressFamilies)"
    return [*found, Result(Verdict.NOT_TRIED, "", "packet socket (AF_PACKET)", "", held)]
