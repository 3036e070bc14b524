"""The client of control's API: HTTP/1.1 over its unix socket, one connection for each request."""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from ops.cli.errors import CliError, ExitCode
from ops.cli.logged_in import token_of
from ops.cli.words import t

Json = dict[str, Any]
TIMEOUT = 30.0  # seconds; a write waits until all workers enforce it


class _UnixConnection(http.client.HTTPConnection):
    """http.client over AF_UNIX; the host name is only what stands in the Host header."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Requests to the API at one socket. Every failure is a CliError with its exit code."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Json:
        """The JSON object of a GET."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] | None = None,
        revision: int | None = None,
        *,
        timeout: float | None = None,
    ) -> Json:
        """One request and the JSON object of its answer. revision: the write is refused (exit 4) unless the item's last
        change is still that of this revision; None: it is not asked. timeout: seconds, for what takes longer."""
        response = self._request(method, path, body, query, timeout or self._timeout, revision)
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.path, error) from None
        if response.status >= 400:
            raise problem(response.status, data)
        try:
            answer = json.loads(data) if data else {}
        except ValueError:
            raise CliError(
                ExitCode.UNREACHABLE, t("{path} does not answer in JSON", path=self.path), _remedy()
            ) from None
        return answer if isinstance(answer, dict) else {"items": answer}

    def stream(self, path: str, query: Mapping[str, object] | None = None, last_event: str = "") -> Iterator[str]:
        """The lines of an answer that goes on until either side ends it. last_event: the id to go on behind."""
        response = self._request("GET", path, None, query, None, last_event=last_event)
        if response.status >= 400:
            raise problem(response.status, response.read())
        try:
            while line := response.readline():
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.path, error) from None

    def _request(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, object] | None,
        timeout: float | None,
        revision: int | None = None,
        last_event: str = "",
    ) -> http.client.HTTPResponse:
        given = {key: str(value) for key, value in (query or {}).items() if value not in (None, "")}
        target = path + (f"?{urlencode(given)}" if given else "")
        headers = {"Accept": "application/json", "User-Agent": "feiyu-cli"}
        if token := token_of(self.path):
            headers["Authorization"] = f"Bearer {token}"
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        if last_event:
            headers["Last-Event-ID"] = last_event
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = _UnixConnection(self.path, timeout)
        try:
            connection.request(method, target, payload, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _unreachable(self.path, error) from None


def path_of(*parts: str) -> str:
    """The API path of these parts, each kept one segment whatever it contains."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _remedy() -> str:
    return t("Is the gateway running? Start it with feiyu up, or name its socket with --server PATH.")


def _unreachable(path: str, error: Exception) -> CliError:
    """Why there is no answer, and what to do about it."""
    if isinstance(error, PermissionError):
        return CliError(
            ExitCode.FORBIDDEN,
            t("this account may not open {path}", path=path),
            t("Use an account that the node admits, or root."),
        )
    if isinstance(error, FileNotFoundError):
        why = t("there is no control socket at {path}", path=path)
    elif isinstance(error, ConnectionRefusedError):
        why = t("nobody listens at {path}", path=path)
    elif isinstance(error, TimeoutError):
        why = t("control does not answer at {path}", path=path)
    else:
        cause = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        why = t("the connection to {path} failed: {why}", path=path, why=cause)
    return CliError(ExitCode.UNREACHABLE, why, _remedy())


_CODES = {
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.NO,
    412: ExitCode.CONFLICT,
    429: ExitCode.FORBIDDEN,
    500: ExitCode.NO,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}


def problem(status: int, data: bytes) -> CliError:
    """The error an application/problem+json body tells (RFC 9457)."""
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {"title": t("control answered {status}", status=status)}
    message = str(body.get("detail") or body.get("title") or t("control answered {status}", status=status))
    fields = [
        (str(entry.get("field", "")), str(entry.get("message", "")))
        for entry in body.get("errors") or []
        if isinstance(entry, dict)
    ]
    code = _CODES.get(status, ExitCode.USAGE)
    if status == 409:
        code = ExitCode.CONFLICT if "revision" in str(body.get("type", "")) else ExitCode.NO
    return CliError(code, message, str(body.get("remedy", "")), fields, status)
