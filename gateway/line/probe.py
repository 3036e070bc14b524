"""Active probes: what is asked over a line to see that it carries, marked and bound as tenants' flows are."""

import asyncio
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.line.dial import DialError, open_socket
from gateway.line.model import MARK_BASE, LineEntry, LineError, LineHandle, handle_of

_DEFAULT_PORT = {"http": 80}
_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask: scheme tcp (connect) or http (GET path; any status below 500 is alive). family: 4 or 6."""

    text: str
    scheme: str
    family: int
    address: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How one target answered. rtt_us: of the TCP handshake, 0 where there was none; why: empty when it is ok."""

    target: str
    ok: bool
    rtt_us: int = 0
    why: str = ""


def parse(text: str) -> Target:
    """tcp://ADDRESS:PORT or http://ADDRESS[:PORT]/PATH, as whitelist.line_rules lets them pass. Raises ValueError."""
    url = urlsplit(text)
    address = ip_address(url.hostname or "")
    port = url.port or _DEFAULT_PORT.get(url.scheme, 0)
    if url.scheme not in ("tcp", "http") or not port:
        raise ValueError(f"not a probe: {text!r}")
    return Target(text, url.scheme, address.version, str(address), port, url.path or "/")


async def ask(line: LineHandle, target: Target, seconds: float) -> ProbeResult:
    """Asks one target over the line; whatever goes wrong is in the result."""
    try:
        sock = socket.socket(fileno=open_socket(target.family, line).detach())
    except (LineError, DialError) as error:
        return ProbeResult(target.text, ok=False, why=str(error))
    loop, began, rtt = asyncio.get_running_loop(), time.monotonic(), 0
    with sock:
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, (target.address, target.port))
                rtt = round((time.monotonic() - began) * 1_000_000)
                if target.scheme == "tcp":
                    return ProbeResult(target.text, ok=True, rtt_us=rtt)
                host = f"[{target.address}]" if target.family == 6 else target.address
                head = f"GET {target.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: feiyu\r\nConnection: close\r\n\r\n"
                await loop.sock_sendall(sock, head.encode("ascii"))
                answer = b""
                while b"\r\n" not in answer and len(answer) < _ANSWER_BYTES:
                    if not (data := await loop.sock_recv(sock, _ANSWER_BYTES)):
                        break
                    answer += data
        except TimeoutError:
            return ProbeResult(target.text, ok=False, rtt_us=rtt, why=f"no answer in {seconds:g} s")
        except OSError as error:
            return ProbeResult(
                target.text, ok=False, rtt_us=rtt, why=os.strerror(error.errno) if error.errno else str(error)
            )
    version, _, rest = answer.partition(b" ")
    status = rest[:3]
    alive = version.startswith(b"HTTP/1.") and status.isdigit() and int(status) < 500
    why = "" if alive else f"status {status.decode()}" if status.isdigit() else "no HTTP answer"
    return ProbeResult(target.text, ok=alive, rtt_us=rtt, why=why)


async def ask_all(line: LineHandle, targets: Iterable[str], seconds: float) -> list[ProbeResult]:
    """One round: all targets of a line at once."""
    return list(await asyncio.gather(*(ask(line, parse(text), seconds) for text in targets)))


def probe_line(entry: LineEntry, mark_base: int = MARK_BASE, timeout: float = 2.0) -> list[ProbeResult]:
    """One round for whoever asks by hand; needs CAP_NET_RAW or CAP_NET_ADMIN in the node's network namespace. Raises
    LineError for a line no socket can be put on."""
    return asyncio.run(ask_all(handle_of(entry, mark_base), entry.probes, timeout))
