"""Talking to the hub, one message at a time; works with everything but the supervisor dead."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from gateway.live import MAX_PACKET


class HubError(Exception):
    """The hub was not reached, did not answer, or refused."""


class HubUnreachableError(HubError):
    """Nobody listens, this user may not speak, or no answer came in time; the message may still have been applied."""


class HubRefusedError(HubError):
    """The hub understood and said no; nothing was changed."""


def send(path: str | Path, message: dict[str, Any], timeout: float = 5.0, role: str = "cli") -> dict[str, Any]:
    """Publishes one message, e.g. {"kind": "kill", "scope": "all", "id": "k1"}, and returns the hub's answer (see
    ops.hub). {"kind": "status"} asks for what is in force. timeout in seconds bounds each step. Raises
    HubUnreachableError, HubRefusedError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            sock.send(msgspec.json.encode({"hello": role, "name": f"{role}-{os.getpid()}"}))
            sock.send(msgspec.json.encode(message))
            while True:
                packet = sock.recv(MAX_PACKET * 4)
                if not packet:
                    raise HubUnreachableError(
                        f"{path}: the hub closed the connection; is this user allowed to speak to it?"
                    )
                answer: dict[str, Any] = msgspec.json.decode(packet, type=dict[str, Any])
                if "error" in answer:
                    raise HubRefusedError(str(answer["error"]))
                if "done" in answer:
                    return answer
        except TimeoutError:
            raise HubUnreachableError(f"{path}: no answer within {timeout:g} s") from None
        except OSError as error:
            raise HubUnreachableError(f"{path}: {error.strerror}; is `feiyu up` running?") from None
        except msgspec.DecodeError as error:
            raise HubUnreachableError(f"{path}: not the hub's language: {error}") from None
