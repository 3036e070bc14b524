"""A machine's first steps: pin the zone's CA, make a key, trade the invite's token for a certificate."""

import secrets
from collections.abc import Callable, Sequence

from ops.link import ask, local, pin
from ops.link.error import LinkError, Unreachable
from ops.link.files import Files, Settings
from ops.link.words import t


def enrol(files: Files, settings: Settings, token: str, say: Callable[[str], None], *, again: bool) -> None:
    """Leaves a machine that can run. Raises LinkError; until the gateway has answered, what was there is as it was."""
    if files.identity.exists() and not again:
        raise LinkError(
            t("this machine is enrolled already: {path}", path=files.identity),
            t("feiyu link status shows as what; --again enrols it anew."),
        )
    if not token.isascii() or token.count(".") != 1 or not 40 <= len(token) <= 80:
        raise LinkError(t("this is no token of an invite"), t("Copy it as the operator sent it: c-….…"))
    root = _pinned(settings, say)
    files.write(files.root, root)
    made = ask.of_any(settings.gateways, lambda gateway: ask.certificate(files, settings, gateway, token))
    # The settings last: without them the machine is not enrolled.
    files.write(files.identity, made)
    files.keep_settings(settings)


def settings_of(
    gateways: Sequence[str], ca: str, portal: str, listen: str, *, with_token: bool, anywhere: bool
) -> Settings:
    """What was asked for, checked. Raises LinkError."""
    for gateway in gateways:
        pin.split(gateway)
    host, _ = pin.split(listen)
    if not local.is_loopback(host) and not anywhere:
        raise LinkError(
            t("{address} can be reached from other machines, which would be let through as this one", address=listen),
            t("Listen on 127.0.0.1, or add --listen-anywhere if that is meant."),
        )
    token = secrets.token_urlsafe(24) if with_token else ""
    return Settings(tuple(dict.fromkeys(gateways)), pin.fingerprint(ca), portal, listen, token)


def _pinned(settings: Settings, say: Callable[[str], None]) -> bytes:
    """The root that the first gateway shows which is reached."""
    for gateway in settings.gateways:
        try:
            return pin.root_shown(gateway, settings.ca)
        except Unreachable as error:
            say(error.what)
            last = error
    raise last
