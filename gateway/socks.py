"""One client connection of SOCKS5, from its first byte to its last: a session with another handshake.

methods → login, where one is demanded → request → as for CONNECT: passage, record, reply → ClientHello → relay

The login is the credential that the HTTP listener takes: its id is the username, its token the password. Replies have
no room for words: the reference of a refusal is in the records alone.
"""

from typing import TYPE_CHECKING

from gateway.flow import Flow
from gateway.handshake import HandshakeError
from gateway.handshake.connect import ConnectFields
from gateway.handshake.socks5 import Code, Conversation, Login, Methods, Request, Step, reply
from gateway.identity import Identity, UnidentifiedError
from gateway.session import READ_BYTES, Session
from telemetry.record import CloseCause
from whitelist.decide import Access
from whitelist.reason import Reason
from whitelist.target import TargetError

if TYPE_CHECKING:
    from gateway.context import Context
    from gateway.listener.plain import PlainListener


class SocksSession(Session):
    """authorization: the login, as a Proxy-Authorization value, and identity, whose it is; error: what could not be
    read of the handshake."""

    __slots__ = ("authorization", "error", "identity", "talk")

    established = reply(Code.SUCCEEDED)

    def __init__(self, ctx: "Context", listener: "PlainListener", fd: int, ip: str, port: int, interface: str) -> None:
        self.talk = Conversation(login=listener.name not in ctx.by_place)
        self.authorization: bytes | None = None
        self.identity: Identity | None = None
        self.error: HandshakeError | None = None
        super().__init__(ctx, listener, fd, ip, port, interface)

    def begin(self) -> Flow:
        """A flow that is the firm's from its login on, whatever becomes of the request."""
        flow = super().begin()
        if self.identity is not None:
            flow.record.tenant = self.identity.tenant.id
            flow.record.credential = self.identity.credential.id
            flow.record.user = self.identity.credential.user
        return flow

    def hear(self, data: bytes) -> bool:
        """Takes a piece of the handshake. True: nothing more is to be read now."""
        self.buffer = self.buffer + data if self.buffer else data
        try:
            while (event := self.talk.read(self.buffer)) is not None:
                self.buffer = self.buffer[event.consumed :]
                match event:
                    case Methods():
                        said = self._sent(event.answer)
                    case Login():
                        said = self._judge(event.authorization) and self._sent(self.talk.logged_in())
                    case Request():
                        self.spoke = self.fin or len(data) >= READ_BYTES  # as for CONNECT
                        self._ask(event)
                        return True
                if not said:
                    return True
        except HandshakeError as error:
            self.error = error
            self.refuse(error.reason, error.detail, error.status)
            return True
        return False

    def _judge(self, authorization: bytes) -> bool:
        """Whether the login is one; else it is refused, before any request was heard."""
        unready = self.unready()
        identifier = self.ctx.identifier
        if unready is not None or identifier is None:
            self.refuse(*(unready or (Reason.POLICY_UNAVAILABLE, "no valid policy")))
            return False
        try:
            self.identity = identifier.identify(authorization, self.ctx.reactor.wall)
        except UnidentifiedError as unknown:
            flow = self.begin()
            if unknown.credential is not None:
                flow.record.credential = unknown.credential.id
                flow.record.tenant = unknown.credential.tenant
            self.refuse(unknown.reason, unknown.detail)
            return False
        self.authorization = authorization
        return True

    def _ask(self, request: Request) -> None:
        """The request: its target in one canonical form, then the passage, where the login is looked at again."""
        flow = self.begin()
        flow.record.method = request.command
        if request.command != "CONNECT":
            self.refuse(Reason.METHOD_NOT_ALLOWED, "a command other than CONNECT")
            return
        try:
            target = request.target()
        except TargetError as error:
            self.refuse(error.reason, error.detail)
            return
        self.ctx.reactor.handle(self.fd, self.on_client_early)
        self.admit(flow, ConnectFields(request.command, "5", self.authorization, ""), target, Access.TUNNEL)

    def begun(self) -> bool:
        """Whether the client has said anything yet."""
        return bool(self.buffer) or self.talk.step is not Step.METHODS

    def _gone(self) -> None:
        """The client ended its side before its request was whole."""
        if self.begun():
            self.refuse(Reason.MALFORMED_REQUEST, "the connection ended inside the SOCKS handshake")
        else:
            self.end(CloseCause.CLIENT_CLOSED)

    def on_refused(self, reason: Reason, status: int, detail: str) -> None:
        """Answers with the code that stands for the reason."""
        self._say(self.talk.refusal(reason, self.error))
