"""What a worker and an inspector say to each other about one tunnel, over one SOCK_SEQPACKET connection.

worker ── Begin ──▶ inspector     the permit; before anything is dialled
       ◀─ Ready, or Sorry ──
       ── Start ──▶               with two descriptors: the client's bytes, the service's bytes
       ◀─ Ask ──                  an inner request, allowed or not, before anything of it goes on
       ── Go, or Stop ──▶         it is in the spool, or could not be written
       ◀─ Done ──                 how an allowed one ended
       ◀─ Dial ──                 another connection to the same service
       ── Dialled (with a descriptor), or Failed ──▶

       ◀─ Bye ──                  the client's end was answered, or the answer was the last

The end of the connection without a Bye is the end of the tunnel, whoever makes it. The inspector has no address to
give: what it gets is what the worker dialled for the permit.
"""

import array
import socket

import msgspec

from whitelist.inspection import Inspect

MAX_PACKET = 96 * 1024
MAX_PATH = 2048
INTS = array.array("i").itemsize


class Begin(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A tunnel to come. user: whom of the firm the notice of inspection is for; node, portal: of pages."""

    flow: str
    tenant: str
    user: str
    grant: str
    service: str
    host: str
    port: int
    inspect: Inspect
    node: str
    portal: str
    revision: int


class Ready(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The inspector has all it needs for this tunnel."""


class Sorry(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It has not, or has no room."""

    detail: str


class Start(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Two descriptors come with it: the client's side, the service's side."""


class Dial(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Another connection to the service is needed."""

    number: int


class Dialled(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Its descriptor comes with it."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It could not be had."""

    number: int
    reason: str
    detail: str


class Ask(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An inner request. of: the number of an earlier Ask that let it begin, 0 for none; reason: "" where it is allowed,
    else why not, and status is what the client is told."""

    number: int
    method: str
    path: str
    rule: str
    content_type: str
    user_agent: str
    of: int = 0
    reason: str = ""
    status: int = 0
    detail: str = ""
    bytes_out: int = 0
    bytes_in: int = 0


class Go(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It is recorded, under this reference."""

    number: int
    ref: str


class Stop(msgspec.Struct, frozen=True, tag=True, gc=False):
    """It could not be recorded, so it may not be."""

    number: int
    ref: str


class Done(msgspec.Struct, frozen=True, tag=True, gc=False):
    """How the allowed request with this number ended. bytes_*: of the bodies; cause: telemetry.record.CloseCause."""

    number: int
    status: int
    content_type: str
    bytes_out: int
    bytes_in: int
    cause: str


class Bye(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The inspector is through: what it had to say to the client is in the client's pair, and its end follows."""


FromWorker = Begin | Start | Dialled | Failed | Go | Stop
FromInspector = Ready | Sorry | Dial | Ask | Done | Bye

encode = msgspec.msgpack.Encoder().encode
read_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
read_from_inspector = msgspec.msgpack.Decoder(FromInspector).decode


def send(sock: socket.socket, message: FromWorker | FromInspector, descriptors: tuple[int, ...] = ()) -> None:
    """One packet. Raises OSError; BlockingIOError where the other side has too much unread."""
    if descriptors:
        socket.send_fds(sock, [encode(message)], list(descriptors))
    else:
        sock.send(encode(message))


def receive(sock: socket.socket, descriptors: int) -> tuple[bytes, list[int]]:
    """One packet and at most so many descriptors, close-on-exec; b"" is the end. Raises OSError, BlockingIOError."""
    room = socket.CMSG_SPACE(descriptors * INTS) if descriptors else 0
    data, ancillary, flags, _ = sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % INTS])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise OSError(f"a packet of more than {MAX_PACKET} bytes, or with more than {descriptors} descriptors")
    return data, list(found)
