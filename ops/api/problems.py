"""Errors as application/problem+json (RFC 9457), each with what to do about it."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from tenants.change import (
    AlreadyExists,
    ApprovalNeeded,
    ChangeRefused,
    ConflictingChange,
    Forbidden,
    InvalidChange,
    StaleChange,
    UnknownItem,
)
from tenants.store import RegisterUnavailable

_log = logging.getLogger("feiyu.control")
_REFUSALS: dict[type[ChangeRefused], tuple[int, str, str]] = {
    InvalidChange: (422, "invalid", "Not valid"),
    AlreadyExists: (409, "exists", "Exists"),
    UnknownItem: (404, "unknown", "Not found"),
    ConflictingChange: (409, "conflict", "Not possible now"),
    StaleChange: (412, "revision", "Changed meanwhile"),
    Forbidden: (403, "forbidden", "Forbidden"),
    ApprovalNeeded: (409, "approval", "Needs a second person"),
}


class Problem(Exception):  # noqa: N818 - the name RFC 9457 gives it
    """An answer that is an error. kind is the last part of its type; errors are (field, message)."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        remedy: str = "",
        errors: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail, self.remedy = status, kind, title, detail, remedy
        self.errors = errors or []
        self.more: dict[str, Any] = {}  # members beside the usual ones (RFC 9457 clause 3.2)

    def response(self) -> web.Response:
        """The answer's status and body."""
        body: dict[str, Any] = {
            "type": f"urn:feiyu:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
            "errors": [{"field": name, "message": message} for name, message in self.errors],
            **self.more,
        }
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(body),
            content_type="application/problem+json",
            headers={"Cache-Control": "no-store"},
        )


def problem_of(error: Exception, method: str, path: str) -> Problem:
    """The problem that an exception of a handler means. What nobody foresaw is logged, not told to the client."""
    match error:
        case Problem():
            return error
        case ChangeRefused():
            status, kind, title = _REFUSALS[type(error)]
            problem = Problem(status, kind, title, error.detail, error.remedy, error.errors)
            problem.more["change"] = error.index
            return problem
        case RegisterUnavailable():
            return Problem(503, f"register-{error.kind}", "Register not available", error.detail, error.remedy)
        case web.HTTPException():
            return _http(error, method, path)
        case _:
            _log.error("%s %s failed", method, path, exc_info=error)
            remedy = "the change may not have been made: look before you repeat it; control's log has the cause"
            return Problem(500, "internal", "Internal error", "control failed while answering", remedy)


def _http(error: web.HTTPException, method: str, path: str) -> Problem:
    title = HTTPStatus(error.status).phrase
    if error.status == 404:
        return Problem(404, "no-route", title, f"there is nothing at {path}", "see the list at GET /v1")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, "method", title, f"{path} does not take {method}", f"use {allowed}")
    if error.status == 413:
        return Problem(413, "too-large", title, "the request is larger than control takes", "send the changes in parts")
    return Problem(error.status, "http", title, error.reason or title)


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns every exception of a handler into its problem."""
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, ConnectionResetError):
            raise  # the client is gone: nobody to tell
        return problem_of(error, request.method, request.path).response()
