"""What the keys of a sink of the record stream may hold, and which belong together."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ops import settings as s
from ops.yamlnode import listing, parsed, section, text
from telemetry.stream.spec import BEGINS, FORMATS, KINDS_OF_SINK, STREAM_KINDS, Sink

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:]+\]", re.ASCII)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}", re.ASCII)


def _path(value: str) -> str:
    plain = value.isprintable() and value.startswith("/") and not value.endswith("/")
    if value and (not plain or any(part in ("", ".", "..") for part in value[1:].split("/"))):
        raise ValueError("not an absolute path in plain form")
    return value


_file = parsed("an absolute path", _path)
sink = section(
    Sink,
    {
        "name": text("1 to 32 of a-z, 0-9 and dashes", lambda v: bool(_NAME.fullmatch(v))),
        "kind": text(f"one of {', '.join(KINDS_OF_SINK)}", lambda v: v in KINDS_OF_SINK),
        "to": text("a path, HOST:PORT, or URL, by the kind"),
        "format": text(f"one of {', '.join(FORMATS)}", lambda v: v in FORMATS),
        "kinds": listing(
            text(f"one of {', '.join(STREAM_KINDS)}", lambda v: v in STREAM_KINDS), "kinds of records", unique=("",)
        ),
        "begin": text(f"one of {', '.join(BEGINS)}", lambda v: v in BEGINS),
        **dict.fromkeys(("ca", "certificate", "key", "secret", "credentials"), _file),
        "stream": text("1 to 64 letters, digits, dashes", lambda v: bool(_STREAM.fullmatch(v))),
        "subject": text("words with dots between", lambda v: bool(_SUBJECT.fullmatch(v))),
    },
)


def sink_faults(settings: s.Settings) -> Iterator[tuple[str, str]]:
    """Each fault: what is wrong, what is expected."""
    taken: dict[str, str] = {}
    for entry in settings.streams:
        where = f"{entry.name}: to {entry.to!r}"
        if expected := _wrong_end(entry):
            yield f"{where} is nothing that kind {entry.kind} can reach", expected
        if entry.kind == "webhook" and not entry.secret:
            yield f"{entry.name} has no secret", "secret: the file with whsec_… that signs its requests"
        for key, kinds in _BELONGS.items():
            if getattr(entry, key) and entry.kind not in kinds:
                yield f"{entry.name} is of kind {entry.kind} and has {key}", f"{key} for {' and '.join(kinds)} only"
        if bool(entry.certificate) != bool(entry.key):
            yield f"{entry.name} has certificate or key alone", "both, or neither"
        if entry.kind == "file":
            if entry.to in taken:
                yield f"{taken[entry.to]} and {entry.name} both write {entry.to}", "a file for each"
            taken[entry.to] = entry.name


_TLS = ("syslog", "webhook", "nats")
_BELONGS = {"ca": _TLS, "certificate": _TLS, "key": _TLS, "secret": ("webhook",), "credentials": ("nats",)}


def _wrong_end(entry: Sink) -> str:
    """What is expected of `to`; "" where it is so."""
    match entry.kind:
        case "file":
            try:
                good = bool(_path(entry.to))
            except ValueError:
                good = False
            return "" if good else "an absolute path"
        case "syslog":
            host, _, port = entry.to.rpartition(":")
            return "" if _HOST.fullmatch(host) and _is_port(port) else "HOST:PORT, such as siem.zone.example:6514"
        case "webhook":
            return "" if _url(entry.to, "https") else "a URL such as https://hook.zone.example/feiyu"
    if _url(entry.to, "tls") or (_url(entry.to, "nats") and _is_here(urlsplit(entry.to).hostname or "")):
        return ""
    return "tls://HOST:PORT, or nats://127.0.0.1:PORT of this machine"


def _url(value: str, scheme: str) -> bool:
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        return False
    plain = value.isascii() and value.isprintable() and " " not in value and "@" not in url.netloc
    return plain and url.scheme == scheme and bool(url.hostname) and port != 0 and not url.fragment


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdecimal() and str(int(value)) == value and 1 <= int(value) <= 65_535
