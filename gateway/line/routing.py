"""Policy rules and routes as values, and the numbers that order them. Pure.

By priority: what transparent listeners take; what wraps a line's packets on their way to the peer, the line's mark, its
first segment, its sources; then the same selectors again as `prohibit`.
"""

from dataclasses import dataclass

PRIORITY_TRANSPARENT = 4601
PRIORITY_UNDERLAY = 4605  # before the marks: a VXLAN packet keeps the mark of what it carries
PRIORITY_MARK = 4610
PRIORITY_SEGMENT = 4615
PRIORITY_SOURCE = 4620
PRIORITY_PROHIBIT_MARK = 4680
PRIORITY_PROHIBIT_SOURCE = 4690
METRIC_LOCAL = 5
METRIC_SEGMENT = 5
METRIC_GATEWAY = 10
METRIC_UNREACHABLE = 4278198272  # behind every route a person or a daemon would add
PROTOCOL = 70  # rtm_protocol of our rules and routes


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """One policy rule; table 0 means prohibit. mask is 0 when there is no mark, source and destination (single
    addresses) empty when there is none; incoming: the device that the packet came in by, or empty. extra: whatever else
    a rule found in the kernel says, so that it never equals one of ours."""

    version: int
    priority: int
    mark: int = 0
    mask: int = 0
    source: str = ""
    table: int = 0
    extra: str = ""
    destination: str = ""
    incoming: str = ""

    def __str__(self) -> str:
        parts = [f"ip -{self.version} rule {self.priority}:", f"from {self.source or 'all'}"]
        if self.incoming:
            parts.append(f"iif {self.incoming}")
        if self.destination:
            parts.append(f"to {self.destination}")
        if self.mask:
            parts.append(f"fwmark {self.mark:#x}/{self.mask:#x}")
        parts.append(f"lookup {self.table}" if self.table else "prohibit")
        if self.extra:
            parts.append(f"({self.extra})")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One route of a line's table: the default route, or that to the single address destination. No device means
    unreachable; segments: the packet is wrapped for them (SRv6 H.Encaps, RFC 8986 5.1), first one first; gateway is
    then empty; mtu: 0 for the device's; local: the destination is this host. extra: as in Rule."""

    version: int
    table: int
    metric: int
    device: str = ""
    gateway: str = ""
    extra: str = ""
    destination: str = ""
    segments: tuple[str, ...] = ()
    mtu: int = 0
    local: bool = False

    def __str__(self) -> str:
        way = f"via {self.gateway} dev {self.device} onlink" if self.device else "unreachable"
        if self.segments:
            way = f"encap seg6 mode encap segs {','.join(self.segments)} dev {self.device}"
        if self.local:
            way = f"local dev {self.device}"
        if self.mtu:
            way += f" mtu {self.mtu}"
        if self.extra:
            way = self.extra
        where = self.destination or "default"
        return f"ip -{self.version} route table {self.table}: {where} {way} metric {self.metric}"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A rule of somebody else before ours. target: the first address of the prefix that it is for, empty for all; to:
    the prefix in words."""

    version: int
    words: str
    target: str = ""
    to: str = ""

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Diverted:
    """What of one family does not reach a line's table. by: the rules that may be at fault, in words; parts: what of
    it, empty for everything."""

    by: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        of = f" for {', '.join(self.parts)}" if self.parts else ""
        remedy = "remove it, or give it a priority behind ours (ip rule)"
        return f"a foreign rule decides before the line's{of}: {self.by}; {remedy}"
