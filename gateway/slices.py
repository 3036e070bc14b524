"""A walk over every live connection in slices, so that it does not hold up the bytes of the others."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.context import Context, Live

SLICE = 0.002  # seconds of a walk in one turn


def walk(ctx: "Context", visit: Callable[["Live"], None], after: Callable[[], None] | None = None) -> None:
    """Visits what is live now, the first slice at once and each further one, and after, in a turn of its own. visit
    must not raise.

    It goes by the descriptors of connections, not by what held them when it began: between two slices a session may
    have become a tunnel, which must be visited too, and what it was must not be touched any more.
    """
    _slice(ctx, iter(list(ctx.live)), visit, after)


def _slice(
    ctx: "Context", connections: Iterator[int], visit: Callable[["Live"], None], after: Callable[[], None] | None
) -> None:
    lives, clock = ctx.live, time.monotonic
    end = clock() + SLICE
    for fd in connections:
        live = lives.get(fd)
        if live is not None:
            visit(live)
        if clock() >= end:
            ctx.reactor.again(lambda: _slice(ctx, connections, visit, after))
            return
    if after is not None:
        ctx.reactor.again(after)
