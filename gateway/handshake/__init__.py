"""Sans-io parsers of what a client (or a service) says first: bytes in, values out. No socket, no loop, no clock."""

from whitelist.reason import Reason


class HandshakeError(Exception):
    """The bytes received cannot be taken further. `detail` is the gateway's own words, never bytes of the peer, so that
    it may stand in a record and in the body of a refusal."""

    def __init__(self, reason: Reason, status: int, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.status = status
        self.detail = detail


def malformed(detail: str) -> HandshakeError:
    """What every unreadable or ambiguous request ends in."""
    return HandshakeError(Reason.MALFORMED_REQUEST, 400, detail)
