"""Whether an answer that changes to another protocol is the one to the WebSocket that was asked for (RFC 6455)."""

import base64
import hashlib

from mitmproxy import http

from whitelist.inspection import Fault
from whitelist.reason import Reason

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # clause 1.3


def handshake_fault(request: http.Request, response: http.Response) -> Fault | None:
    """What is wrong with the change of protocol, None where all is as clause 4 says."""
    key = request.headers.get("sec-websocket-key", "").encode("latin-1", "replace")
    # The accept value is a checksum, no secret.
    wanted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    fine = (
        request.method == "GET"
        and request.headers.get("upgrade", "").strip().lower() == "websocket"
        and request.headers.get("sec-websocket-version") == "13"
        and response.headers.get("upgrade", "").strip().lower() == "websocket"
        and response.headers.get("sec-websocket-accept", "").strip() == wanted
    )
    return None if fine else (Reason.PROTOCOL_NOT_ALLOWED, "the service changes to a protocol that was not asked for")
