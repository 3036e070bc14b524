"""One question to a gateway and its answer: a certificate, or the firm's own page."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from ops.link import pin
from ops.link.error import LinkError, Refused, Unreachable
from ops.link.files import Files, Settings
from ops.link.identity import belongs, new_request, proof
from ops.link.words import current, t

MAX_ANSWER = 4 << 20


def certificate(files: Files, settings: Settings, gateway: str, token: str = "") -> bytes:
    """A new key with its certificate in PEM: by an invite's token, or without one by the present certificate. Raises
    Unreachable, Refused, LinkError."""
    key, request = new_request()
    said = {"request": request.decode()}
    if token:
        path, identity = "/enrol", None
        said["token"] = token
    else:
        path, identity = "/renew", files.identity
        said["certificate"], said["proof"] = proof(files.identity, request)
    context = pin.trusting(files.root, identity, pin.ENROLMENT)
    found = _asked(gateway, context, "POST", path, settings.portal, json.dumps(said).encode())
    made = found.get("certificate", "") if isinstance(found, dict) else ""
    if not isinstance(made, str) or not belongs(key, made.encode()):
        raise LinkError(t("{gateway} answered with what is no certificate for this machine's key", gateway=gateway))
    return key + made.encode()


def page(files: Files, settings: Settings, gateway: str, path: str = "/") -> Any:
    """The firm's own page, as JSON. Raises as certificate()."""
    context = pin.trusting(files.root, files.identity)
    return _asked(gateway, context, "GET", f"http://{settings.portal}{path}", settings.portal, None)


def of_any(gateways: Sequence[str], question: Callable[[str], Any]) -> Any:
    """The answer of the first gateway that is reached. Raises what the last one did, where none is."""
    for gateway in gateways[:-1]:
        try:
            return question(gateway)
        except Unreachable:
            pass
    return question(gateways[-1])


def _asked(gateway: str, context: Any, method: str, target: str, host: str, body: bytes | None) -> Any:
    fields = {"Host": host, "Accept": "application/json", "User-Agent": "feiyu-link", "Connection": "close"}
    try:
        with closing(HTTPConnection(host)) as connection:
            connection.sock = pin.connect(gateway, context)
            connection.request(method, target, body, fields)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER)
            if answer.length:  # http.client says nothing of an answer that broke off where a size was given
                raise pin.unreachable(gateway, OSError("the answer broke off"))
    except HTTPException as error:
        raise pin.unreachable(gateway, OSError(type(error).__name__)) from None
    except OSError as error:
        raise _not_heard(gateway, error) from None
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if answer.status != 200 or found is None:
        raise refused(answer, found)
    return found


def _not_heard(gateway: str, error: OSError) -> LinkError:
    """With TLS 1.3 it is the first read that tells of a certificate the gateway does not take."""
    reason = str(getattr(error, "reason", "") or "")
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        words = reason.replace("_", " ").lower()
        return Refused(
            t("{gateway} does not take this machine's certificate: {why}", gateway=gateway, why=words),
            t("Ask the operator for a new invite, and enrol again."),
        )
    return pin.unreachable(gateway, error)


def refused(answer: HTTPResponse, found: Any) -> Refused:
    """The gateway's own words for a no, in the language in use."""
    problem = found if isinstance(found, dict) else {}
    texts = problem.get("i18n", {}).get("zh-CN" if current() == "zh" else "en", {})
    detail = str(texts.get("detail") or problem.get("detail") or "")
    cause = str(problem.get("cause") or "")
    words = " ".join(part for part in (f"{answer.status} {answer.reason}.", detail, cause and f"({cause})") if part)
    return Refused(words, str(texts.get("remedy") or ""), str(problem.get("instance", "")).rpartition("/")[2])
