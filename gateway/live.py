"""What a worker and the supervisor's hub say to each other: one JSON object per SOCK_SEQPACKET packet.

Pure codec. The hub numbers every message; a worker acknowledges each within a second or is killed, because a worker
that cannot be told to cut must not carry flows. A worker whose connection to the hub ends must end its flows and exit.
"""

from enum import StrEnum
from typing import Final

import msgspec

MAX_PACKET: Final = 65_536  # bytes, both ways
ACK_DEADLINE: Final = 1.0  # seconds


class LiveKind(StrEnum):
    """What a message from the hub asks for."""

    STATE = "state"  # everything in force; first message after hello, and replaces all that was known
    REVISION = "revision"  # a snapshot revision is on disk; the same one again is control's sign of life
    LINE = "line"  # a line changed its state
    KILL = "kill"
    UNKILL = "unkill"
    CUT = "cut"  # end one live flow


class KillScope(StrEnum):
    """What a kill switch cuts; value names the tenant, service, line or destination, a user as TENANT/USER, and is
    empty for all."""

    ALL = "all"
    TENANT = "tenant"
    USER = "user"
    SERVICE = "service"
    LINE = "line"
    DESTINATION = "destination"


class LineState(StrEnum):
    """Whether new flows may take a line: up, or degraded where no designated line is up. A line that was never reported
    is not up."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    DRAINING = "draining"


class Kill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kill in force. until: Unix seconds, 0 for no end (the hub says unkill when it is over). rule: the regulator's
    rule that asked for it, "" for a kill switch; rate: new flows a second that are let through all the same, which only
    a rule's throttle of a tenant has."""

    id: str
    scope: KillScope
    value: str = ""
    until: int = 0
    rule: str = ""
    rate: int = 0


class LiveMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of the hub. Which fields count depends on kind: state: revision, lines, kills; revision: revision;
    line: line, state, detail; kill: scope, value, until, id, rule, rate; unkill: id; cut: flow, cause, rule."""

    seq: int
    kind: LiveKind
    revision: int = 0
    lines: dict[str, LineState] = {}
    kills: tuple[Kill, ...] = ()
    line: str = ""
    state: LineState | None = None
    detail: str = ""
    scope: KillScope | None = None
    value: str = ""
    until: int = 0
    id: str = ""
    flow: str = ""
    cause: str = ""
    rule: str = ""
    rate: int = 0

    def kill(self) -> Kill:
        """The kill this message carries. Raises ValueError for any other kind."""
        if self.kind is not LiveKind.KILL or self.scope is None:
            raise ValueError(f"not a kill: {self.kind}")
        return Kill(id=self.id, scope=self.scope, value=self.value, until=self.until, rule=self.rule, rate=self.rate)


_decoder = msgspec.json.Decoder(LiveMessage)


def parse(packet: bytes) -> LiveMessage:
    """Reads one packet of the hub. Raises msgspec.DecodeError (a ValidationError is one) for anything else; a worker
    that meets it must not acknowledge."""
    return _decoder.decode(packet)


def hello(name: str, role: str = "worker") -> bytes:
    """The first packet of a connection: who speaks, as hello("w0.1"). Roles: worker, lines, control, recorder, cli."""
    return msgspec.json.encode({"hello": role, "name": name})


def ack(seq: int, cut: int = 0) -> bytes:
    """The packet that says message seq is in force here, and how many live flows it ended."""
    return msgspec.json.encode({"ack": seq, "cut": cut} if cut else {"ack": seq})
