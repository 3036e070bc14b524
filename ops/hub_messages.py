"""What may be said to the hub, and by whom."""

from typing import Annotated

import msgspec

from gateway.live import KillScope, LineState, LiveKind

_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._:-]{1,64}\Z")]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._:-]{0,64}\Z")]
_Words = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{0,253}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Revision(msgspec.Struct, tag_field="kind", tag="revision"):
    """A snapshot revision is on disk; the same again is control's sign of life."""

    revision: _Count


class LineReport(msgspec.Struct, tag_field="kind", tag="line"):
    """The lines process saw a line change."""

    line: _Id
    state: LineState
    detail: Annotated[str, msgspec.Meta(max_length=512)] = ""


class Engage(msgspec.Struct, tag_field="kind", tag="kill"):
    """Puts a kill in force until a Unix second (0: until released). rule: the regulator's rule that asks for it, and
    must where the recorder speaks; rate: of a throttle, new flows a second."""

    id: _Id
    scope: KillScope
    value: _Words = ""
    until: _Count = 0
    rule: _Name = ""
    rate: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


class Release(msgspec.Struct, tag_field="kind", tag="unkill"):
    """Ends a kill."""

    id: _Id


class Cut(msgspec.Struct, tag_field="kind", tag="cut"):
    """Ends one live flow."""

    flow: _Id
    cause: _Id = "cut-by-operator"
    rule: _Name = ""


class Status(msgspec.Struct, tag_field="kind", tag="status"):
    """Asks for what is in force; goes to nobody."""


type Published = Revision | LineReport | Engage | Release | Cut | Status

# what a role may publish; a worker only acknowledges
PUBLISHES: dict[str, frozenset[str]] = {
    "worker": frozenset(),
    "lines": frozenset({"line", "status"}),
    "control": frozenset({"revision", "kill", "unkill", "cut", "status"}),
    "recorder": frozenset({"kill", "cut", "status"}),
    "cli": frozenset({"kill", "unkill", "cut", "status"}),
}
# what a role is sent
SUBSCRIBES: dict[str, frozenset[LiveKind]] = {
    "worker": frozenset(LiveKind),
    "lines": frozenset({LiveKind.STATE, LiveKind.REVISION}),
}


class Hello(msgspec.Struct):
    """The first packet of a connection."""

    hello: str
    name: _Id
