"""ClientHellos of client programs seen before, recognised in one step.

A program's hellos differ from each other in few places: the random, the session id, key shares, tickets, padding. A
Layout knows where these are, takes everything else out of a hello in one call, and looks up what hellos with exactly
these bytes say. Every extension header is among the bytes compared, so a hello that matches has the same extensions in
the same places, and reading it anew would give the same result: name, protocols, ECH and JA4 do not depend on what is
left out. Programs that shuffle their extensions (browsers) are read in full each time.
"""

from struct import Struct
from typing import NamedTuple

from gateway.handshake.client_hello import ClientHello, HelloReader, Shape
from gateway.handshake.ech import ENCRYPTED_CLIENT_HELLO, fresh_parts
from gateway.handshake.hello_fields import protocol_text

# Extensions whose contents are fresh each time and say nothing that is read here: padding, session_ticket,
# pre_shared_key, key_share. Their headers are compared all the same, as is what is read of an encrypted ClientHello.
_FRESH = frozenset((21, 35, 41, 51))
_GREASE = frozenset(protocol_text(bytes((octet, octet))) for octet in range(0x0A, 0x100, 0x10))  # RFC 8701 clause 2
_RECORD_AND_HEADER = 9
MAX_LAYOUTS_PER_LENGTH = 2
MAX_SHAPES = 256
LATER = "\\later"  # no name's text, where x stands behind each backslash
MAX_SEEN_ONCE = 1024
MAX_KNOWN = 4096


class HelloFacts(NamedTuple):
    """What is read of a ClientHello. sni: canonical name or None; sni_is_ip: it is an address; alpn: comma-separated,
    at most 256 characters; offered: the protocols in it that mean something (no GREASE), all of them, and LATER for one
    that the client would choose unseen."""

    sni: str | None
    sni_is_ip: bool
    alpn: str
    offered: tuple[str, ...]
    ech: bool
    ja4: str


def facts_of(hello: ClientHello) -> HelloFacts:
    """The facts of a hello that was read in full."""
    offered = tuple(name for name in hello.alpn if name not in _GREASE)
    if hello.npn:
        offered += (LATER,)
    return HelloFacts(hello.sni, hello.sni_is_ip, ",".join(hello.alpn)[:256], offered, hello.ech, hello.ja4)


def _layout(hello: ClientHello, size: int) -> Struct:
    """A struct over the whole message, record header included, that skips what is fresh each time."""
    body_at = _RECORD_AND_HEADER
    skipped = [(body_at + 2, 32), (body_at + 35, hello.session_id_length)]
    for kind, at, length in hello.extension_places():
        if kind in _FRESH:
            skipped.append((body_at + at, length))
        elif kind == ENCRYPTED_CLIENT_HELLO:
            skipped += [(body_at + at + start, count) for start, count in fresh_parts(hello.contents(kind))]
    form, at = ">", 0
    for start, length in sorted(skipped):
        form += f"{start - at}s{length}x"
        at = start + length
    return Struct(f"{form}{size - at}s")


class HelloMemo:
    """Bounded memory of layouts, by the message's length, and of what they were found to say. A layout is made when a
    shape is seen a second time: a browser that shuffles its extensions seldom shows one twice."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[Struct]] = {}
        self._known: dict[tuple[bytes, ...], HelloFacts] = {}
        self._shapes: dict[Shape, Struct] = {}
        self._seen_once: set[Shape] = set()

    def read(self, data: bytes, reader: HelloReader) -> HelloFacts | None:
        """The facts of the hello that data begins with: recalled, or read in full and remembered; None when more bytes
        are needed. reader: of this hello alone. Raises HelloError."""
        known = self.recall(data)
        if known is not None:
            return known[0]
        hello = reader.read(data)
        return None if hello is None else self.learn(data, hello)

    def recall(self, data: bytes) -> tuple[HelloFacts, int] | None:
        """The facts of the hello that data begins with, and its length, if one like it was learnt and it is whole."""
        if len(data) < _RECORD_AND_HEADER:
            return None
        end = 5 + (data[3] << 8 | data[4])
        if end <= len(data):
            for layout in self._layouts.get(end, ()):
                facts = self._known.get(layout.unpack_from(data))
                if facts is not None:
                    return facts, end
        return None

    def learn(self, data: bytes, hello: ClientHello) -> HelloFacts:
        """Remembers a hello that was read in full from the start of data, where it came in one record and its shape is
        not new."""
        facts = facts_of(hello)
        if hello.in_one_record:
            layout = self._layout(hello)
            if layout is not None:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[layout.unpack_from(data)] = facts
        return facts

    def _layout(self, hello: ClientHello) -> Struct | None:
        shape = hello.shape
        layout = self._shapes.get(shape)
        if layout is not None:
            return layout
        if shape not in self._seen_once:
            if len(self._seen_once) >= MAX_SEEN_ONCE:
                self._seen_once.clear()
            self._seen_once.add(shape)
            return None
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
            self._layouts.clear()
            self._known.clear()
        layout = self._shapes[shape] = _layout(hello, hello.consumed)
        layouts = self._layouts.setdefault(hello.consumed, [])
        layouts.insert(0, layout)
        if len(layouts) > MAX_LAYOUTS_PER_LENGTH:
            gone = layouts.pop()
            self._shapes = {key: kept for key, kept in self._shapes.items() if kept is not gone}
        return layout
