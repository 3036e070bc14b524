"""What every sink is to the pump that feeds it."""

import ssl
from collections.abc import Sequence
from typing import Protocol

from telemetry.stream.event import Event
from telemetry.stream.spec import Sink as Spec


class SinkError(Exception):
    """The sink did not take what it was given; str() says why. It is opened anew and given the same again."""


class Sink(Protocol):
    """One place where records go. settle: seconds for which what it has taken may still be lost by its other end: after
    a break everything younger is sent again."""

    settle: float
    batch: int  # events at once, at most

    async def open(self) -> None:
        """Connects. Raises SinkError or OSError."""

    async def send(self, events: Sequence[Event]) -> None:
        """Returns once the other end has taken all of them. Raises SinkError or OSError when it has not."""

    async def close(self) -> None:
        """Lets go; never raises."""

    def figures(self) -> dict[str, int]:
        """Counters of its own, by name."""


def tls_context(spec: Spec) -> ssl.SSLContext:
    """A client's, which checks the other end's certificate and name. Raises SinkError naming the file."""
    try:
        context = ssl.create_default_context(cafile=spec.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if spec.certificate:
            context.load_cert_chain(spec.certificate, spec.key or None)
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(path for path in (spec.ca, spec.certificate, spec.key) if path)
        raise SinkError(f"TLS files cannot be used ({named}): {error}") from None
    return context


def read_secret(path: str, what: str) -> bytes:
    """A secret's file without blanks at its ends. Raises SinkError."""
    try:
        with open(path, "rb") as file:
            secret = file.read(4096).strip()
    except OSError as error:
        raise SinkError(f"{what} {path}: {error.strerror}") from None
    if not secret:
        raise SinkError(f"{what} {path} is empty")
    return secret
