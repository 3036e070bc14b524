"""What a grant allows inside TLS: methods, paths, kinds and sizes of content. Pure: one request is judged at a time.

Only what is written is allowed. A path that two readers could understand differently (dot segments, encoded slashes,
backslashes) is refused whatever the rules say: what is matched here must be what the service will serve.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import msgspec

from whitelist.reason import Reason

# Services in these categories are never inspected, whatever a grant says: what people say to their doctor, their bank
# and whoever keeps their passwords, and applications that would only break.
EXEMPT = ("health", "finance", "identity-provider", "pinned-app")
EXEMPT_OBJECTS = frozenset(f"category:{category}".encode() for category in EXEMPT)

SAFE_METHODS = ("GET", "HEAD")
BARRED = ("CONNECT", "TRACE", "PRI")  # never inside: they change what the connection is, or show the service's view
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}").fullmatch
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/(\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,63})").fullmatch
_PATTERN = re.compile(r"/(?:[!-)+-z|~]|\{[a-z_]{1,32}\})*\*?").fullmatch
_VISIBLE = re.compile(r"[!-~]*").fullmatch
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE).fullmatch
_HIDDEN = re.compile(r"[\\#]|%2f|%5c|%00|%25(?:2e|2f|5c)", re.IGNORECASE).search
MAX_RULES, MAX_PATTERNS, MAX_ROOTS = 64, 64, 32_768


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is allowed. paths: "/a/b" exactly, "/a/*" all below, "/a/{id}/b" any one segment for {id};
    upload_types, download_types: media types of bodies ("application/json", "image/*"), empty: any; sizes in bytes of
    one request, 0: no limit."""

    id: str = ""
    methods: tuple[str, ...] = SAFE_METHODS
    paths: tuple[str, ...] = ("/*",)
    upload_types: tuple[str, ...] = ()
    download_types: tuple[str, ...] = ()
    upload_bytes: int = 0
    download_bytes: int = 0
    websocket: bool = False
    grpc: bool = False


class Inspect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a grant says of inspection. Sizes per day are of the whole grant, by the zone's day, 0: no limit. roots: PEM
    of the authorities that the service's certificate may come from, "": those of the system."""

    protocol: Literal["http"] = "http"
    rules: tuple[Rule, ...]
    upload_bytes_per_day: int = 0
    download_bytes_per_day: int = 0
    roots: str = ""


class Inner(msgspec.Struct, frozen=True, gc=False):
    """What is known of an inner request from its head. path: without the query; content_type: of its body, as sent, ""
    for none; length: octets that it announces, None where it does not say; upgrade: lower-case, "" for none."""

    method: str
    path: str
    content_type: str = ""
    length: int | None = 0
    upgrade: str = ""


Fault = tuple[Reason, str]
_ORDER = (Reason.PATH_NOT_ALLOWED, Reason.METHOD_NOT_ALLOWED, Reason.PROTOCOL_NOT_ALLOWED, Reason.CONTENT_NOT_ALLOWED)


def judge(inspect: Inspect, inner: Inner) -> Rule | Fault:
    """The first rule that allows the request, or what was wrong with the one that came closest."""
    if fault := path_fault(inner.path):
        return Reason.PATH_NOT_ALLOWED, fault
    closest: Fault = (Reason.PATH_NOT_ALLOWED, "no rule of the grant has this path")
    for rule in inspect.rules:
        found = _fault(rule, inner)
        if found is None:
            return rule
        if _ORDER.index(found[0]) > _ORDER.index(closest[0]):
            closest = found
    return closest


def _fault(rule: Rule, inner: Inner) -> Fault | None:
    """What of the rule the request does not fit."""
    if not any(_compiled(pattern)(inner.path) for pattern in rule.paths):
        return Reason.PATH_NOT_ALLOWED, "no rule of the grant has this path"
    if inner.method not in rule.methods:
        return Reason.METHOD_NOT_ALLOWED, "no rule of the grant has this method for the path"
    if inner.upgrade and not (inner.upgrade == "websocket" and rule.websocket):
        return Reason.PROTOCOL_NOT_ALLOWED, "the grant does not allow to change to another protocol (WebSocket)"
    media = media_type(inner.content_type)
    if is_grpc(media) and not rule.grpc:
        return Reason.PROTOCOL_NOT_ALLOWED, "the grant does not allow gRPC"
    if inner.length != 0 and not allows(rule.upload_types, media):
        return Reason.CONTENT_NOT_ALLOWED, "the grant does not allow this type of content to be sent"
    if rule.upload_bytes and (inner.length or 0) > rule.upload_bytes:
        return Reason.CONTENT_NOT_ALLOWED, f"more than {rule.upload_bytes} bytes to be sent"
    return None


def answer_fault(rule: Rule, content_type: str, length: int | None) -> Fault | None:
    """What of the rule an answer does not fit; content_type, length: of its body, as in Inner."""
    if length != 0 and not allows(rule.download_types, media_type(content_type)):
        return Reason.CONTENT_NOT_ALLOWED, "the grant does not allow this type of content to be received"
    if rule.download_bytes and (length or 0) > rule.download_bytes:
        return Reason.CONTENT_NOT_ALLOWED, f"more than {rule.download_bytes} bytes to be received"
    return None


def is_grpc(media: str) -> bool:
    """Whether this media type is gRPC's (application/grpc, +proto, -web …)."""
    return media.startswith("application/grpc")


def media_type(content_type: str) -> str:
    """The media type alone, in lower case, without parameters (RFC 9110 clause 8.3.1); "" where it is none."""
    media = content_type.partition(";")[0].strip().lower()
    return media if _TYPE(media) and not media.endswith("/*") else ""


def allows(types: tuple[str, ...], media: str) -> bool:
    """Whether a media type is among those of a rule. Content that does not say what it is is none of them."""
    return not types or media in types or f"{media.partition('/')[0]}/*" in types


def path_fault(path: str) -> str:
    """Why a path has a second reading, or ""."""
    if not path.startswith("/") or path.startswith("//") or not _VISIBLE(path):
        return "not a path from one slash on, in visible ASCII"
    if _HIDDEN(path):
        return "a path with an encoded slash or dot, a backslash, or a fragment"
    if ("." in path or "%" in path) and any(_DOTS(s.partition(";")[0]) for s in path.split("/")):
        return "a path with dot segments"
    return ""


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Callable[[str], re.Match[str] | None]:
    below = pattern.endswith("*")
    parts = re.split(r"(\{[a-z_]+\})", pattern.removesuffix("*"))
    expression = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.compile(expression + (".*" if below else ""), re.DOTALL).fullmatch


def inspect_faults(inspect: Inspect) -> list[tuple[str, str]]:
    """What is wrong with the rules in themselves: (field, message)."""
    errors: list[tuple[str, str]] = []
    if not 1 <= len(inspect.rules) <= MAX_RULES:
        errors.append(("inspect.rules", f"needs 1 to {MAX_RULES} rules; only what one of them allows passes"))
    if len(inspect.roots) > MAX_ROOTS or (inspect.roots and "-----BEGIN CERTIFICATE-----" not in inspect.roots):
        errors.append(("inspect.roots", f"needs PEM certificates of at most {MAX_ROOTS} characters"))
    sizes = {name: getattr(inspect, name) for name in ("upload_bytes_per_day", "download_bytes_per_day")}
    for n, rule in enumerate(inspect.rules[:MAX_RULES]):
        where = f"inspect.rules[{n}]"
        sizes |= {f"rules[{n}].{name}": getattr(rule, name) for name in ("upload_bytes", "download_bytes")}
        if not rule.methods or not all(_TOKEN(m) and m == m.upper() and m not in BARRED for m in rule.methods):
            errors.append((f"{where}.methods", "needs methods in capitals, such as GET, and neither CONNECT nor TRACE"))
        if not 1 <= len(rule.paths) <= MAX_PATTERNS:
            errors.append((f"{where}.paths", f"needs 1 to {MAX_PATTERNS} paths"))
        for path in rule.paths:
            plain = re.sub(r"\{[a-z_]+\}", "x", path.removesuffix("*"))
            if not _PATTERN(path) or path_fault(plain) or "?" in path:
                errors.append((f"{where}.paths", f"{path!r} is not /exact, /prefix/* or /with/{{segment}}"))
        errors += [
            (f"{where}.{name}", 'needs media types in lower case, such as "application/json"')
            for name in ("upload_types", "download_types")
            if not all(_TYPE(media) for media in getattr(rule, name))
        ]
    errors += [(f"inspect.{name}", "needs 0 (no limit) or more") for name, size in sizes.items() if size < 0]
    return errors
