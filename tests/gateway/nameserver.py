"""The resolvers abroad, over UDP, TCP and TLS: they answer as a test tells them to, and keep what was asked."""

import contextlib
import datetime as dt
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Asked(NamedTuple):
    """One question as it arrived. over: "udp" or "tcp"; resolver: the address asked; peer: who asked."""

    host: str
    kind: str
    over: str
    resolver: str
    peer: str


Answer = Callable[[dns.message.Message, Asked], list[bytes]]


def reply(query: dns.message.Message, *records: tuple[str, str, str], ttl: int = 30, rcode: int = 0) -> bytes:
    """An answer with these records: (owner or "" for the one asked, type, data)."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    response.set_rcode(dns.rcode.Rcode(rcode))
    for owner, kind, data in records:
        name = f"{owner}." if owner else query.question[0].name
        response.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, data))
    return response.to_wire(max_size=65535)


class NameServer:
    """Answers on port 53 of these addresses. answers: by name; names that are not there do not exist."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self._held: dict[str, list[tuple[socket.socket, bytes, str, tuple[str, int]]]] = {}
        self._stop, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        for address in addresses:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((address, 53))
            self._selector.register(udp, selectors.EVENT_READ, address)
            tcp = socket.create_server((address, 53))
            self._selector.register(tcp, selectors.EVENT_READ, address)
        self._thread = threading.Thread(target=self._serve, name="resolvers", daemon=True)
        self._thread.start()

    def know(self, host: str, *addresses: str, ttl: int = 30) -> None:
        """The name has these addresses."""

        def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
            fit = [a for a in addresses if (":" in a) == (asked.kind == "AAAA")]
            return [reply(query, *(("", asked.kind, a) for a in fit), ttl=ttl)]

        self.answers[host] = answer

    def hold(self, host: str) -> None:
        """Questions for the name wait until release()."""
        self._held[host] = []

    def release(self, host: str) -> None:
        """Answers what waited, and what comes."""
        for sock, wire, address, peer in self._held.pop(host):
            for answer in self._answers(wire, "udp", address, peer[0]):
                sock.sendto(answer, peer)

    def count(self, host: str) -> int:
        """How often the name was asked for."""
        return sum(a.host == host for a in self.asked)

    def waiting(self, host: str) -> int:
        """How many questions wait."""
        return len(self._held.get(host, ()))

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # sockets, all of them
        self._wake.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if sock is self._stop:
                    return
                assert isinstance(sock, socket.socket)
                if sock.type == socket.SOCK_DGRAM:
                    wire, peer = sock.recvfrom(4096)
                    held = self._held.get(dns.message.from_wire(wire).question[0].name.to_text(omit_final_dot=True))
                    if held is not None:
                        held.append((sock, wire, key.data, peer))
                        continue
                    for answer in self._answers(wire, "udp", key.data, peer[0]):
                        sock.sendto(answer, peer)
                else:
                    self._over_tcp(sock, key.data)

    def _over_tcp(self, listener: socket.socket, address: str) -> None:
        connection, peer = listener.accept()
        connection.settimeout(1)
        with connection:
            try:
                size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
                for answer in self._answers(connection.recv(size, socket.MSG_WAITALL), "tcp", address, peer[0]):
                    connection.sendall(struct.pack("!H", len(answer)) + answer)
            except (OSError, struct.error):
                return

    def _answers(self, wire: bytes, over: str, resolver: str, peer: str) -> list[bytes]:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        host = question.name.to_text(omit_final_dot=True)
        asked = Asked(host, dns.rdatatype.to_text(question.rdtype), over, resolver, peer)
        self.asked.append(asked)
        answer = self.answers.get(host)
        return [reply(query, rcode=3)] if answer is None else answer(query, asked)


Talk = Callable[[ssl.SSLSocket, Callable[[], dns.message.Message]], None]


def certificate(directory: Path, name: str, *, days: int = 2, issuer: Path | None = None) -> Path:
    """A file with key and certificate for a name, self-signed or by the authority in `issuer`; days: how long it holds
    from now, less than 0 if it has ended."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signer_key = subject, key
    if issuer is not None:
        signer = x509.load_pem_x509_certificate(issuer.read_bytes()).subject
        loaded = serialization.load_pem_private_key(issuer.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer_key = loaded
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=issuer is None), critical=True)
        .sign(signer_key, hashes.SHA256())
    )
    file = directory / f"{name}-{made.serial_number:x}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


class TlsNameServer:
    """A resolver on port 853 of an address, a thread per connection. talk: what it does with one, given the TLS socket
    and how to read the next question; raw: what it does with the TCP connection before TLS."""

    def __init__(self, address: str, pem: Path, talk: Talk, raw: Callable[[socket.socket], None] | None = None) -> None:
        self.connections = 0
        self.questions: list[dns.message.Message] = []
        self.sizes: list[int] = []
        self.faults: list[str] = []
        self._talk, self._raw = talk, raw
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._listener = socket.create_server((address, 853))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, name="resolver over TLS", daemon=True).start()

    def close(self) -> None:
        """Ends it and its connections."""
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(plain)
            threading.Thread(target=self._one, args=(plain,), daemon=True).start()

    def _one(self, plain: socket.socket) -> None:
        plain.settimeout(10)
        try:
            if self._raw is not None:
                self._raw(plain)
            with self._context.wrap_socket(plain, server_side=True) as sock:
                self._open.append(sock)
                self._talk(sock, lambda: self._question(sock))
        except (OSError, EOFError) as error:
            self.faults.append(str(error))

    def _question(self, sock: ssl.SSLSocket) -> dns.message.Message:
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
            more = sock.recv(1 if len(data) < 2 else 2 + int.from_bytes(data[:2]) - len(data))
            if not more:
                raise EOFError("the client closed")
            data += more
        self.sizes.append(len(data) - 2)
        query = dns.message.from_wire(data[2:])
        self.questions.append(query)
        return query


def framed(wire: bytes) -> bytes:
    """A message with its length, as over TCP and TLS."""
    return len(wire).to_bytes(2) + wire
