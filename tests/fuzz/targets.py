"""One function per parser that meets strangers' bytes: it reads them in several ways and fails where two ways differ or
anything but the parser's own error comes out."""

# ruff: noqa: PT017 - these are no tests of pytest: what is raised is looked at where it is caught

import itertools
import struct
import zlib
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from gateway.handshake import HandshakeError
from gateway.handshake.client_hello import ClientHello, HelloError, HelloReader, parse_client_hello
from gateway.handshake.connect import usual_connect
from gateway.handshake.hello_memo import HelloMemo, facts_of
from gateway.handshake.http1 import RequestHead, parse_head
from gateway.handshake.origin import parse_origin_head
from gateway.handshake.proxy_protocol import Preamble, parse_preamble
from gateway.handshake.second_hello import SecondHelloReader, asks_again
from gateway.handshake.socks5 import Conversation, Login, Request
from gateway.resolver.messages import MAX_ADDRESSES, MAX_TTL, BadAnswer, Question, read
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.reason import Reason
from whitelist.target import Target, TargetError, host_header_matches, parse_absolute_uri, parse_authority

MAX_HEAD = 1_024
MAX_HELLO = 4_096


def cuts(data: bytes) -> list[int]:
    """A few lengths at which to cut, the same for the same bytes; all of them where there are few."""
    if len(data) <= 24:
        return [*range(1, len(data) + 1)]
    seed = zlib.crc32(data)
    some = {1, 2, len(data) - 1, *(seed * (n + 1) >> 3 * n for n in range(6))}
    return sorted({1 + place % (len(data) - 1) for place in some} | {len(data)})


def http1(data: bytes) -> None:
    """A request head: in one piece and in several, and by the quick reading of a usual CONNECT."""

    def outcome(buffer: bytes, seen: int = 0) -> tuple[object, ...] | None:
        try:
            head = parse_head(buffer, MAX_HEAD, seen=seen)
        except HandshakeError as error:
            assert error.status in (400, 431)
            return error.reason, error.status
        return None if head is None else _facts(head, buffer)

    whole = outcome(data)
    at, found = 0, None
    for end in cuts(data):
        found = outcome(data[:end], at)
        if found is not None:
            break
        at = end
    if whole is None or len(whole) > 2 or (found is not None and len(found) > 2):
        assert found == whole, (found, whole)  # which rule it breaks first may depend on how much is there
    usual = usual_connect(data, MAX_HEAD)
    if usual is not None and whole is not None and len(whole) > 2:
        assert whole[:2] == ("CONNECT", usual[0])
        assert whole[2] == len(data)
        assert whole[3:5] == (usual[1].proxy_authorization, usual[1].user_agent)
    _as_called(data)


def _as_called(data: bytes) -> None:
    """The same head from a client of no proxy: it is for the service that Host names, on the port that was called."""
    try:
        head = parse_origin_head(data, MAX_HEAD)
        read = parse_head(data, MAX_HEAD, own_pages=True)
    except HandshakeError as error:
        assert error.status in (400, 403, 431)
        return
    if head is None or read is None:
        assert head is read
        return
    assert (head.consumed, head.proxy_authorization, head.form) == (read.consumed, None, "absolute")
    try:
        uri = parse_absolute_uri(head.target)
    except TargetError as error:
        assert error.reason is Reason.MALFORMED_REQUEST
        return
    assert uri.target.port == 80
    if read.form == "absolute":
        assert head.target == read.target
    else:
        assert head.host is not None
        assert host_header_matches(uri.target, "http", head.host)
        assert uri.bare if read.form == "asterisk" else uri.origin_form == read.target


def _facts(head: RequestHead, buffer: bytes) -> tuple[object, ...]:
    assert 0 < head.consumed <= len(buffer)
    assert not (head.chunked and head.content_length is not None)
    names = [name for name, _ in head.headers]
    for single in (b"host", b"content-length", b"transfer-encoding", b"proxy-authorization"):
        assert names.count(single) <= 1
    return (
        head.method, head.target, head.consumed, head.proxy_authorization, head.user_agent, head.host, head.form,
        head.version, head.content_length, head.chunked, head.keep_alive, head.accepts_html, head.expects_continue,
        tuple(head.fields),
    )  # fmt: skip


_memo = HelloMemo()


def client_hello(data: bytes) -> None:
    """A ClientHello: in one piece and in several, and by the memory of those seen before."""
    try:
        whole: ClientHello | str | None = parse_client_hello(data, MAX_HELLO)
    except HelloError as error:
        whole = error.kind
    reader, found = HelloReader(MAX_HELLO), None
    for end in cuts(data):
        try:
            found = reader.read(data[:end])
        except HelloError as error:
            found = error.kind  # type: ignore[assignment]  # compared with the other, as it comes
        if found is not None:
            break
    if isinstance(whole, ClientHello):
        assert isinstance(found, ClientHello)
        assert (facts_of(found), found.consumed, found.sni_is_ip) == (facts_of(whole), whole.consumed, whole.sni_is_ip)
        assert whole.consumed <= len(data)
        recalled = _memo.recall(data)
        assert recalled is None or recalled == (facts_of(whole), whole.consumed)
        if not whole.sni_is_ip:
            _memo.learn(data, whole)
    else:
        assert not isinstance(found, ClientHello)
        assert (found is None) == (whole is None)
        assert _memo.recall(data) is None


def second_hello(data: bytes) -> None:
    """What a client says behind its first hello: in one piece and in several; nothing of a hello goes on before all of
    it. And the first bytes of a service: what a beginning tells, the whole tells too."""
    whole = _behind([data])
    edges = [0, *cuts(data)]
    assert _behind([data[a:b] for a, b in itertools.pairwise(edges)]) == whole
    kind, out = whole
    assert data.startswith(out)
    at = 0
    while kind == "nothing" and at < len(out):
        assert out[at] in (20, 21, 23), "a record of the handshake has gone on"
        at += 5 + int.from_bytes(out[at + 3 : at + 5])
    for end in cuts(data):
        told = asks_again(data[:end])
        assert told is None or told is asks_again(memoryview(data))


def _behind(pieces: list[bytes]) -> tuple[str, bytes]:
    """How it ends, and what has gone on; of an error how much is not compared, since a piece may have gone before."""
    reader, out = SecondHelloReader(), b""
    for number, piece in enumerate(pieces):
        try:
            passed = reader.read(piece)
        except HelloError:
            return "error", b""
        out += passed.data
        if passed.hello is not None or passed.is_other:
            return "hello" if passed.hello is not None else "other", out + b"".join(pieces[number + 1 :])
    return "nothing", out


def target(data: bytes) -> None:
    """An authority, a Host field and an absolute URI: what is read says itself again, and reads as itself."""
    for parse in (parse_authority, lambda raw: parse_absolute_uri(raw).target):
        try:
            found: Target = parse(data)
        except TargetError as error:
            assert error.reason in (Reason.MALFORMED_REQUEST, Reason.NAME_INVALID, Reason.PROTOCOL_NOT_ALLOWED)
            continue
        assert 0 < found.port < 65_536
        assert found.host.isascii()
        assert found.host == found.host.lower()
        assert not set(found.host) & set(" \t\r\n\0/@\\?#,%[]")
        assert found.is_ip == (parse_v4(found.host) is not None or parse_v6(found.host) is not None)
        authority = found.authority.encode()
        assert parse_authority(authority) == found
        assert host_header_matches(found, "", authority)
    host_header_matches(Target("a.example", 443, is_ip=False), "http", data)


def socks5(data: bytes) -> None:
    """The client's side of SOCKS5: in one piece and in several, with a login and without."""
    for login in (False, True):
        whole = _conversation([data], login=login)
        edges = [0, *cuts(data)]
        assert _conversation([data[a:b] for a, b in itertools.pairwise(edges)], login=login) == whole


def _conversation(pieces: list[bytes], *, login: bool) -> tuple[object, ...]:
    talk, buffer = Conversation(login=login), b""
    events: list[object] = []
    for piece in pieces:
        buffer += piece
        try:
            while (event := talk.read(buffer)) is not None:
                assert 0 < event.consumed <= min(len(buffer), 513)
                buffer = buffer[event.consumed :]
                events.append(event)
                if isinstance(event, Login):
                    talk.logged_in()
                if isinstance(event, Request):
                    events.append(_socks_target(event))
        except HandshakeError as error:
            assert len(talk.refusal(error.reason, error)) in (2, 10)
            return *events, error.reason, error.detail
    return *events, talk.step, buffer


def _socks_target(request: Request) -> object:
    try:
        found = request.target()
    except TargetError as error:
        return error.reason
    assert parse_authority(found.authority.encode()) == found
    return found


def proxy_protocol(data: bytes) -> None:
    """A PROXY header: the first outcome is the only one, whatever comes behind."""

    def outcome(buffer: bytes) -> object:
        try:
            return parse_preamble(buffer)
        except HandshakeError as error:
            assert error.reason is Reason.MALFORMED_REQUEST
            return error.detail

    whole = outcome(data)
    for end in cuts(data):
        found = outcome(data[:end])
        if found is not None:
            assert found == whole
            if isinstance(found, Preamble):
                assert found.consumed <= end
                assert outcome(data[: found.consumed - 1]) is None
                assert found.source == _plainly(data[: found.consumed])
            break
    else:
        assert whole is None


def _plainly(header: bytes) -> tuple[str, int] | None:
    """The source in a whole header that is known to be good, read a second time with other means."""
    if header[:1] == b"P":
        _, protocol, *words = header.decode("ascii").removesuffix("\r\n").split(" ")
        if protocol == "UNKNOWN":
            return None
        source, to = map(ip_address, words[:2])
        assert source.version == to.version == int(protocol[3:])
        port = int(words[2])
    else:
        command, family, room = struct.unpack("!12xBBH", header[:16])
        assert room == len(header) - 16
        if command == 0x20:
            return None
        form = {0x00: "", 0x11: "4s4sHH", 0x21: "16s16sHH"}[family]
        values = struct.unpack_from(f"!{form}", header, 16)
        rest = header[16 + struct.calcsize(f"!{form}") :]
        while rest:
            (length,) = struct.unpack("!xH", rest[:3])
            assert len(rest) >= 3 + length
            rest = rest[3 + length :]
        if not values:
            return None
        source, port = ip_address(values[0]), values[2]
    mapped = source.ipv4_mapped if isinstance(source, IPv6Address) else None
    return str(mapped or source), port


_QUESTIONS = [Question("www.a.example", family, 0x1234, b"") for family in (4, 6)]


def dns_answer(data: bytes) -> None:
    """A DNS message as the answer to a question: addresses of the right family, a bounded life, or none of it."""
    for question in _QUESTIONS:
        try:
            answer = read(question, data)
        except BadAnswer:
            continue
        assert len(answer.addresses) <= MAX_ADDRESSES
        assert 0 <= answer.ttl <= MAX_TTL
        assert not (answer.addresses and (answer.failed or answer.truncated))
        for address in answer.addresses:
            assert (parse_v4(address) if question.family == 4 else parse_v6(address)) is not None


TARGETS: dict[str, Callable[[bytes], None]] = {
    found.__name__: found for found in (http1, client_hello, second_hello, target, socks5, proxy_protocol, dns_answer)
}
