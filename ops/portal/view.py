"""What a firm's page holds, as JSON: from its holdings, the lines' states and its refusals. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.portal_visit import Question
from ops.api.explain import reason_text
from ops.portal.words import LINE_STATES, grant_words, moment, tenant_words
from whitelist.holdings import Held, Holdings
from whitelist.model import Line


def view(
    asked: Question,
    held: Holdings,
    states: Mapping[str, str],
    refusals: list[dict[str, Any]] | None,
    reads: dict[str, Any] | None,
    now: int,
    pac: str,
    recording: dict[str, object],
) -> dict[str, Any]:
    """The page of one who asks. states: of lines, as live control knows them; refusals and reads (by
    authorities): None where the recorder does not answer; pac: the URL of its PAC file, "" for none; recording: what it
    is told about records (notice.py)."""
    tenant = held.tenant
    you = {
        "tenant": tenant.id,
        "name": tenant.name,
        "name_zh": tenant.name_zh,
        "state": tenant.state,
        "state_text": tenant_words(tenant, now),
        "valid_until": tenant.valid_until,
        "user": asked.user,
        "credential": asked.credential,
        "source": asked.source,
        "interface": asked.interface,
        "site": asked.site,
        "room": asked.room,
        "listener": asked.listener,
    }
    return {
        "you": you,
        "lines": [_line(line, states, now) for line in held.lines],
        "whitelist": [_grant(one, now) for one in held.held],
        "refusals": None if refusals is None else [_refusal(record) for record in refusals],
        "reads": reads,
        "recording": recording,
        "pac": pac,
        "revision": held.revision,
        "time": now,
    }


def _line(line: Line, states: Mapping[str, str], now: int) -> dict[str, Any]:
    state = states.get(line.id, "unknown")
    if line.retired:
        state = "retired"
    elif line.drained:
        state = "drained"
    elif now < line.valid_from or (line.valid_until and now >= line.valid_until):
        state = "ended"
    return {"id": line.id, "state": state, "text": LINE_STATES.get(state, LINE_STATES["unknown"])}


def _grant(one: Held, now: int) -> dict[str, Any]:
    grant, window = one.grant, one.grant.window
    services = [
        {
            "id": service.id,
            "name": service.name,
            "name_zh": service.name_zh,
            "endpoints": [
                {"target": e.target, "ports": list(e.ports), "protocol": e.protocol} for e in service.endpoints
            ],
        }
        for service in one.services
    ]
    hours: dict[str, Any] = {}
    if window.weekdays or (window.start_minute, window.end_minute) != (0, 1440):
        hours = {
            "weekdays": list(window.weekdays),
            "from": f"{window.start_minute // 60:02}:{window.start_minute % 60:02}",
            "to": f"{window.end_minute // 60:02}:{window.end_minute % 60:02}",
            "utc_offset_minutes": window.utc_offset_minutes,
        }
    return {
        "grant": grant.id,
        "object": grant.object,
        "services": services,
        "lines": list(grant.lines),
        "valid_from": window.valid_from,
        "valid_until": window.valid_until,
        "until": moment(window.valid_until),
        "hours": hours,
        "state": grant.state,
        "text": grant_words(grant, now),
    }


def read_shown(record: dict[str, Any]) -> dict[str, Any]:
    """What a firm is told of a read: who, why, how much and when; not who sat at the terminal, nor the query."""
    facts = record.get("facts") or {}
    told = {name: facts.get(name, "") for name in ("authority", "basis", "case", "scope")}
    at = moment(int(record.get("time", 0)) / 1_000_000)
    return {
        "at": at,
        "time": record.get("time", 0),
        **told,
        "records": record.get("count", 0),
        "ref": record.get("ref", ""),
    }


def _refusal(record: dict[str, Any]) -> dict[str, Any]:
    reason, ref = str(record.get("reason", "")), str(record.get("ref", ""))
    at = moment(int(record.get("time", 0)) / 1_000_000)
    return {**record, "at": at, "text": reason_text(reason), "link": f"/r/{ref}"}
