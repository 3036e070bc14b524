"""What can be wrong between this machine and the services abroad, looked at step by step, each with what to do."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.link import ask, identity, pin
from ops.link.error import LinkError
from ops.link.files import Files, Settings
from ops.link.words import t

SKEW = 60  # seconds that a clock may be off
GOOD, WARN, BAD = "ok", "warn", "bad"


@dataclass(frozen=True)
class Finding:
    """One step: what was looked at, how it is, in words, and what to do where it is not well."""

    name: str
    state: str
    says: str
    remedy: str = ""


def findings(files: Files, settings: Settings) -> Iterator[Finding]:
    """In the order of a connection. A gateway that stops at one step is not asked about the next."""
    now = time.time()
    yield certificate_life(files, now)
    pages: list[Any] = []
    for gateway in settings.gateways:
        yield from _gateway(files, settings, gateway, pages)
    if pages:
        yield clock(now, float(pages[0].get("time", now)))
        yield firm(pages[0])
    else:
        yield Finding(
            t("clock"), WARN, t("no gateway can be asked for the time"), t("Compare this machine's clock with another.")
        )
    yield listening(settings)


def certificate_life(files: Files, now: float) -> Finding:
    """Whether the certificate is in force, and renewed in time."""
    name = t("certificate")
    try:
        found = identity.read(files.identity)
    except LinkError as error:
        return Finding(name, BAD, error.what, error.remedy)
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.ends))
    if now >= found.ends:
        return Finding(
            name, BAD, t("expired at {until}", until=until), t("Ask the operator for a new invite, and enrol again.")
        )
    if now < found.begins - identity.SKEW:
        return Finding(name, BAD, t("not valid yet"), t("This machine's clock is behind: set it."))
    if now > found.renews_at() + 3_600:
        return Finding(
            name,
            WARN,
            t("good until {until}, and should have been renewed", until=until),
            t("Keep feiyu link run running."),
        )
    return Finding(name, GOOD, t("{credential}, good until {until}", credential=found.credential, until=until))


def clock(ours: float, theirs: float) -> Finding:
    """This machine's clock beside the gateway's, in seconds."""
    off = int(ours - theirs)
    if abs(off) > SKEW:
        return Finding(
            t("clock"),
            BAD,
            t("{seconds} s off the gateway's", seconds=off),
            t("Set this machine's clock by the network (NTP)."),
        )
    return Finding(t("clock"), GOOD, t("as the gateway's"))


def firm(page: Any) -> Finding:
    """What the gateway says of the firm."""
    you = page.get("you", {}) if isinstance(page, dict) else {}
    state = str(you.get("state", ""))
    if state in ("ACTIVE", "RENEWAL_DUE"):
        return Finding(t("firm"), GOOD, f"{you.get('name', '')} ({you.get('tenant', '')})")
    return Finding(t("firm"), BAD, f"{you.get('tenant', '')}: {state}", t("Speak to the zone's operator."))


def listening(settings: Settings) -> Finding:
    """Whether programs find the link where they are told to."""
    try:
        with socket.create_connection(pin.split(settings.listen), 2):
            return Finding(t("link"), GOOD, t("listens on {address}", address=settings.listen))
    except OSError:
        return Finding(
            t("link"), WARN, t("nothing listens on {address}", address=settings.listen), t("Start feiyu link run.")
        )


def _gateway(files: Files, settings: Settings, gateway: str, pages: list[Any]) -> Iterator[Finding]:
    host, port = pin.split(gateway)
    try:
        found = sorted({str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        yield Finding(f"{gateway} DNS", GOOD, ", ".join(found))
    except OSError as error:
        yield Finding(
            f"{gateway} DNS",
            BAD,
            error.strerror or str(error),
            t("Ask the operator for the gateway's address, or check DNS."),
        )
        return
    try:
        socket.create_connection((host, port), pin.PATIENCE).close()
        yield Finding(f"{gateway} TCP", GOOD, t("connected"))
    except OSError as error:
        yield Finding(
            f"{gateway} TCP", BAD, error.strerror or str(error) or type(error).__name__,
            t("A firewall, a cable or the gateway itself: check the first two, then tell the operator."),
        )  # fmt: skip
        return
    try:
        pin.root_shown(gateway, settings.ca)
        pin.connect(gateway, pin.trusting(files.root, None, pin.ENROLMENT)).close()
        yield Finding(f"{gateway} TLS", GOOD, t("the pinned CA and the right name"))
    except LinkError as error:
        yield Finding(f"{gateway} TLS", BAD, error.what, error.remedy)
        return
    try:
        pages.append(ask.page(files, settings, gateway))
        yield Finding(f"{gateway} http://{settings.portal}/", GOOD, t("this machine is let in"))
    except LinkError as error:
        yield Finding(f"{gateway} http://{settings.portal}/", BAD, error.what, error.remedy)
