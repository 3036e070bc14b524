"""feiyu doctor egress: what stops a packet that tries to leave beside its line."""

import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from gateway.line.nft import NftError
from ops.cli.app import App
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.output import Column, field
from ops.cli.words import t
from ops.doctor import aim, host
from ops.doctor.egress import BAD, examine
from ops.lines import lines_config
from ops.settings import Settings
from whitelist.line_claims import underlay
from whitelist.model import Line

COLUMNS = [
    Column("VERDICT", lambda item: t(str(item["verdict"]))),
    field("LINE", "line"),
    Column("ATTEMPT", lambda item: t(str(item["attempt"]))),
    field("KIND", "kind"),
    field("BY", "by", wide=True),
]


def egress(app: App, settings: Settings, only: Sequence[str], target: str = "") -> ExitCode:
    """Shows every attempt; the status says whether anything got out. target: HOST[:PORT] that they are to reach."""
    lines = _lines(app, settings)
    if unknown := sorted(set(only) - {line.id for line in lines}):
        known = ", ".join(sorted(line.id for line in lines)) or "-"
        raise usage(t("there is no line {names}", names=", ".join(unknown)), t("Lines in use: {names}", names=known))
    _in_the_node(settings, lines)  # before a name is asked for, which sends too
    node = lines_config(settings).node
    try:
        hops = {hop for line in lines for hop in (line.gateway4, line.gateway6) if hop}
        named = aim.named(target, node, hops) if target else None
    except aim.AimError as error:
        raise usage(f"--target: {error}", error.remedy) from None
    if named and (lacking := sorted({4, 6} - named.addresses.keys())):
        app.say(
            t("note: {target} has no IPv{version} address; those ways are not tried", target=target, version=lacking[0])
        )
    try:
        results = examine(node, lines, only, named)
    except PermissionError as error:
        raise CliError(
            ExitCode.NO,
            t("packets cannot be sent and watched: {why}", why=error.strerror),
            t("Run it as root, in the node's network namespace."),
        ) from None
    except NftError as error:
        raise CliError(ExitCode.NO, str(error)) from None
    app.rows([asdict(result) | {"verdict": result.verdict.value} for result in results], COLUMNS)
    bad = sum(result.verdict in BAD for result in results)
    if bad:
        app.say(t("{count} ways are open: feiyu doctor says what is missing in the kernel", count=bad))
        return ExitCode.NO
    app.say(t("no packet left beside its line"))
    return ExitCode.YES


def _in_the_node(settings: Settings, lines: Sequence[Line]) -> None:
    """Raises CliError where none of the node's devices is: there the packets would leave by somebody else's, and say
    nothing of the node. The loopback is everywhere, so it does not count."""
    own = {access.interface for access in settings.access} | {line.device for line in lines}
    own |= {device for line in lines if (device := underlay(line))}
    if not (own - {"lo"}) & {name for _, name in socket.if_nameindex()}:
        names = ", ".join(sorted(own - {"lo"})) or "-"
        raise usage(
            t("none of the node's devices is here: {names}; nothing was sent", names=names),
            t("Run it as root, in the node's network namespace: ip netns exec NAME, or nsenter --net --target PID."),
        )


def _lines(app: App, settings: Settings) -> list[Line]:
    """The lines in use: from control, or from the register where control does not answer."""
    items: list[dict[str, Any]] | None
    try:
        items = app.items("lines")
    except CliError:
        items = host.lines_in_use(settings)
    if items is None:
        app.say(t("note: neither control nor the register says which lines there are; only the node's ways are tried"))
        return []
    if not items:
        app.say(t("note: there is no line; only the node's ways are tried"))
    return [line for line in msgspec.convert(items, list[Line]) if not line.retired]
