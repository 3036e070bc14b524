"""The TLS channel without sockets: who gets through the handshake, pieces of any size, and ends."""

import contextlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.tls.channel import MAX_HANDSHAKE, Channel, ChannelError
from gateway.tls.context import TlsContext, TlsContextError
from tenants import ca
from tests.gateway.secure_kit import SERVER, ClientFile, Pki, new_key

NOW = int(time.time())


class Peer:
    """A real client of Python's ssl, in memory."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=SERVER, session=session)
        self.heard = b""
        self.ended = self.shaken = False

    def turn(self, data: bytes = b"", say: bytes = b"") -> bytes:
        """Takes bytes, says something once the handshake is over, and returns what goes out."""
        self._in.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            if say:
                self.tls.write(say)
            while not self.ended:
                more = self.tls.read(65_536)
                self.heard += more
                self.ended = not more
        return self._out.read()

    def close(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._out.read()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"), NOW)


@pytest.fixture(scope="module")
def context(pki: Pki) -> TlsContext:
    return TlsContext(pki.certificate, pki.key, pki.client_ca)


def shake(channel: Channel, peer: Peer, size: int = 1 << 20) -> bytes:
    """The handshake in pieces of so many bytes; what the channel understood of the client's "hello"."""
    understood, said, down = b"", False, b""
    for _ in range(12):
        up = peer.turn(down)
        if peer.shaken and not said:
            said = True
            up += peer.turn(say=b"hello")
        down = b""
        for at in range(0, len(up), size):
            understood += channel.feed(up[at : at + size])
            down += channel.take()
        if understood and not down:
            break
    peer.turn(down)
    return understood


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_a_handshake_in_pieces_of_any_size_is_the_same(
    pki: Pki, context: TlsContext, size: int, version: ssl.TLSVersion
) -> None:
    client, channel = pki.client(), Channel(context)
    peer = Peer(client.context(version))
    assert shake(channel, peer, size) == b"hello"
    der = channel.peer()
    assert der is not None
    assert ca.identity(x509.load_der_x509_certificate(der)) == ("acme", client.name)
    peer.turn(channel.seal(b"x" * 100_000))
    assert peer.heard == b"x" * 100_000


def other_zone(pki: Pki) -> ClientFile:
    return pki.client(issuer=ca.new_issuing(ca.new_root("zone.example", NOW), NOW))


def from_the_past(pki: Pki) -> ClientFile:
    return pki.client(now=NOW - 90, life=30)


def from_the_future(pki: Pki) -> ClientFile:
    return pki.client(now=NOW + ca.DAY)


def server_side(pki: Pki) -> ClientFile:
    key = new_key()
    return pki.client(key=key, certificate=ca.issue_server(pki.issuing, key.public_key(), [SERVER], NOW))


def self_signed(pki: Pki) -> ClientFile:
    root = ca.new_root("zone.example", NOW)
    return pki.client(key=root.key, issuer=root, certificate=root.certificate)


def below_a_client(pki: Pki) -> ClientFile:
    """A client's certificate that signs another one's."""
    key = new_key()
    leaf = ca.issue_client(pki.issuing, key.public_key(), "acme", "c-acme000007", NOW)
    return pki.client(issuer=ca.Authority(leaf, key))


def below_a_stolen_issuer(pki: Pki) -> ClientFile:
    """An issuing CA that makes another one, against its path length."""
    return pki.client(issuer=ca.new_issuing(pki.issuing, NOW))


def another_zone_by_the_same_issuer(pki: Pki) -> ClientFile:
    """A name outside of the issuing CA's constraints."""
    key, issuer = new_key(), pki.issuing
    name = x509.UniformResourceIdentifier("spiffe://other.example/tenant/acme/credential/c-acme000007")
    good = ca.issue_client(issuer, key.public_key(), "acme", "c-acme000007", NOW)
    builder = x509.CertificateBuilder(
        issuer_name=good.issuer, subject_name=good.subject, public_key=key.public_key(),
        serial_number=good.serial_number, not_valid_before=good.not_valid_before_utc,
        not_valid_after=good.not_valid_after_utc,
        extensions=[e for e in good.extensions if e.oid != x509.SubjectAlternativeName.oid],
    ).add_extension(x509.SubjectAlternativeName([name]), critical=False)  # fmt: skip
    return pki.client(key=key, certificate=builder.sign(issuer.key, hashes.SHA256()))


REFUSED: dict[str, tuple[Callable[[Pki], ClientFile], str]] = {
    "of another zone's CA of the same name": (other_zone, "unable to get local issuer certificate"),
    "expired a minute ago": (from_the_past, "certificate has expired"),
    "valid from tomorrow": (from_the_future, "certificate is not yet valid"),
    "made for a server": (server_side, "unsuitable certificate purpose"),
    "self-signed": (self_signed, "self-signed certificate"),
    "signed by a client's certificate": (below_a_client, "invalid CA certificate"),
    "below a CA that the issuing CA may not make": (below_a_stolen_issuer, "path length constraint exceeded"),
    "with a name outside of the zone": (another_zone_by_the_same_issuer, "permitted subtree violation"),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_is_refused(pki: Pki, context: TlsContext, case: str, version: ssl.TLSVersion) -> None:
    make, why = REFUSED[case]
    channel, peer = Channel(context), Peer(make(pki).context(version))
    with pytest.raises(ChannelError, match=why) as caught:
        shake(channel, peer)
    assert caught.value.unknown
    assert not channel.established
    with pytest.raises(ssl.SSLError, match="ALERT"):
        peer.turn(channel.take())
    assert channel.feed(b"more") == b""


def plain_words(_: Pki) -> bytes:
    return b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"


def only_old(pki: Pki) -> bytes:
    """TLS 1.1 at most: the version of the hello in TLS 1.2's words, with a lower number."""
    hello = bytearray(Peer(pki.client().context(ssl.TLSVersion.TLSv1_2)).turn())
    hello[10] = 2
    return bytes(hello)


def only_h2(pki: Pki) -> bytes:
    context = pki.client().context()
    context.set_alpn_protocols(["h2"])
    return Peer(context).turn()


def too_long(_: Pki) -> bytes:
    """A client hello that promises more than 32 KiB, in whole records."""
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff\x03\x03" + bytes(16_378)
    return record * 3


GARBAGE: dict[str, tuple[Callable[[Pki], bytes], str]] = {
    "a plain proxy request": (plain_words, "https proxy request|http request"),
    "zeros": (lambda _: bytes(100), "wrong version|packet|record|unsupported"),
    "a record of application data first": (lambda _: b"\x17\x03\x03\x00\x05hello", "unexpected|record|app"),
    "an alert first": (lambda _: b"\x15\x03\x03\x00\x02\x02\x28", "alert|unexpected"),
    "a record that is too long": (lambda _: b"\x16\x03\x01\xff\xff" + bytes(70_000), "length|too long|large"),
    "TLS 1.1 at most": (only_old, "unsupported protocol"),
    "HTTP/2 only": (only_h2, "no application protocol"),
    "a hello of more than 32 KiB": (too_long, "too long|excessive|length|decode|bad"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_what_is_no_client_of_ours_ends_in_an_error(pki: Pki, context: TlsContext, case: str) -> None:
    make, why = GARBAGE[case]
    channel = Channel(context)
    data = make(pki)

    def feed() -> None:
        for at in range(0, len(data), 1024):
            assert channel.feed(data[at : at + 1024]) == b""

    with pytest.raises(ChannelError, match=why) as caught:
        feed()
    assert not caught.value.unknown
    assert channel.fed <= MAX_HANDSHAKE + 1024


def test_a_client_without_certificate_is_told_so(pki: Pki, context: TlsContext) -> None:
    channel = Channel(context)
    with pytest.raises(ChannelError, match="did not return a certificate") as caught:
        shake(channel, Peer(pki.client().context(shown=False)))
    assert caught.value.unknown


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_a_resumed_session_still_shows_whose_it_is(pki: Pki, context: TlsContext, version: ssl.TLSVersion) -> None:
    client = pki.client()
    theirs = client.context(version)
    first = Peer(theirs)
    shake(Channel(context), first)
    second, channel = Peer(theirs, first.tls.session), Channel(context)
    assert shake(channel, second) == b"hello"
    assert channel.resumed
    assert second.tls.session_reused
    der = channel.peer()
    assert der is not None
    assert x509.load_der_x509_certificate(der) == client.certificate


def test_a_session_is_not_resumed_where_the_anchors_are_others(pki: Pki, context: TlsContext, tmp_path: Path) -> None:
    theirs = pki.client().context()
    first = Peer(theirs)
    shake(Channel(context), first)
    anchors = tmp_path / "clients.pem"
    anchors.write_bytes(ca.pem(pki.issuing.certificate, pki.root.certificate))
    channel = Channel(TlsContext(pki.certificate, pki.key, anchors))
    assert shake(channel, Peer(theirs, first.tls.session)) == b"hello"
    assert not channel.resumed


def test_each_side_may_end_its_own_direction(pki: Pki, context: TlsContext) -> None:
    channel, peer = Channel(context), Peer(pki.client().context())
    shake(channel, peer)
    assert channel.feed(peer.close()) == b""
    assert channel.ended
    assert channel.feed(b"anything") == b""
    assert channel.seal(b"still here")
    channel = Channel(context)
    peer = Peer(pki.client().context())
    shake(channel, peer)
    words = channel.close()
    assert words
    assert channel.close() == b""
    assert channel.feed(peer.turn(say=b"still here")) == b"still here"


def test_a_record_that_was_changed_on_the_way_ends_the_connection(pki: Pki, context: TlsContext) -> None:
    channel, peer = Channel(context), Peer(pki.client().context())
    shake(channel, peer)
    record = bytearray(peer.turn(say=b"hello"))
    record[-1] ^= 1
    with pytest.raises(ChannelError, match=r"mac|record"):
        channel.feed(bytes(record))


def encrypted(pki: Pki) -> str:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    key = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    pki.key.write_bytes(key)
    return "without a passphrase"


def not_there(pki: Pki) -> str:
    pki.key.unlink()
    return "No such file"


def of_another(pki: Pki) -> str:
    pki.key.write_bytes(ca.key_pem(new_key()))
    return "cannot be used together"


def no_certificate(pki: Pki) -> str:
    pki.certificate.write_text("hello\n")
    return "no certificate in PEM"


def no_anchors(pki: Pki) -> str:
    pki.client_ca.write_text("")
    return "no certificate in PEM"


@pytest.mark.parametrize("spoil", [encrypted, not_there, of_another, no_certificate, no_anchors])
def test_files_that_cannot_be_used_are_named(spoil: Callable[[Pki], str], tmp_path: Path) -> None:
    broken = Pki(tmp_path / "pki", NOW)
    why = spoil(broken)
    with pytest.raises(TlsContextError, match=why):
        TlsContext(broken.certificate, broken.key, broken.client_ca)


def test_whatever_is_changed_in_a_clients_words_is_an_error_or_nothing(pki: Pki, context: TlsContext) -> None:
    """Bytes changed, cut out, doubled and cut off, in the first and in the second flight: never anything else than a
    ChannelError, and never a word of plaintext from a handshake that was tampered with."""
    theirs, random = pki.client().context(), Random(5)
    refused = 0
    for turn in range(600):
        channel, peer = Channel(context), Peer(theirs)
        flights = [peer.turn()]
        if turn % 2:
            channel.feed(flights[0])
            flights = [peer.turn(channel.take(), say=b"hello")]
        data = bytearray(flights[0])
        at = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + random.randrange(1, 40)]
            case 2:
                data[at:at] = data[at : at + random.randrange(1, 40)]
            case _:
                del data[at:]
        try:
            understood = bytes(channel.feed(bytes(data)))
        except ChannelError:
            refused += 1
            continue
        # What was cut behind the handshake is only a shorter word; what is whole again is what was said.
        assert understood in (b"", b"hello")
    assert refused > 200
