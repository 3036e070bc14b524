"""Kill switches and blocks by rules in force, as the hub told them: what they cut, and whether a flow is under one."""

from collections.abc import Iterable

from msgspec.structs import replace

from gateway.live import Kill, KillScope
from whitelist.ip_text import format_v6, parse_v6
from whitelist.reason import Reason


def _canonical(kill: Kill) -> Kill:
    """Destinations in the one spelling that targets have: whoever pulls the switch in a hurry may type capitals, a dot
    at the end, "*." in front, or brackets. A value that still is no name or address, or is empty, covers
    nothing."""
    if kill.scope is not KillScope.DESTINATION:
        return kill
    value = kill.value.lower().removeprefix("*.").removesuffix(".").removeprefix("[").removesuffix("]")
    packed = parse_v6(value) if ":" in value else None
    return replace(kill, value=value if packed is None else format_v6(packed))


class Kills:
    """All kills by id. A flow is matched by tenant, service, line and destination host."""

    def __init__(self) -> None:
        self._kills: dict[str, Kill] = {}

    def replace(self, kills: Iterable[Kill]) -> None:
        """Takes the whole list of what is in force."""
        self._kills = {kill.id: _canonical(kill) for kill in kills}

    def engage(self, kill: Kill) -> None:
        """Adds one."""
        self._kills[kill.id] = _canonical(kill)

    def release(self, kill_id: str) -> None:
        """Takes one back; an unknown id is none."""
        self._kills.pop(kill_id, None)

    def __bool__(self) -> bool:
        return bool(self._kills)

    def refusal(self, kill_id: str) -> tuple[Reason, str]:
        """What a flow under this kill is refused for, and what its record names: the rule, or the switch itself."""
        kill = self._kills.get(kill_id)
        return (Reason.REGULATOR_RULE, kill.rule) if kill and kill.rule else (Reason.KILL_SWITCH, kill_id)

    def rate(self, tenant: str, wall: float) -> tuple[int, str]:
        """The least rate of new flows a second that a rule leaves this tenant, with the rule; 0 for no such rule."""
        slow = [
            (kill.rate, kill.rule)
            for kill in self._kills.values()
            if kill.rate and kill.value == tenant and not (kill.until and wall >= kill.until)
        ]
        return min(slow, default=(0, ""))

    def hit(
        self, tenant: str, service: str, line: str, host: str, wall: float, address: str = "", user: str = ""
    ) -> str:
        """The id of a kill that covers such a flow now, or "". address: the one dialled, where it is known; a kill of
        an address must not be passed by under a name."""
        for kill in self._kills.values():
            if (kill.until and wall >= kill.until) or kill.rate or not (kill.value or kill.scope is KillScope.ALL):
                continue
            match kill.scope:
                case KillScope.ALL:
                    return kill.id
                case KillScope.TENANT if kill.value == tenant:
                    return kill.id
                case KillScope.USER if user and kill.value == f"{tenant}/{user}":
                    return kill.id
                case KillScope.SERVICE if kill.value == service:
                    return kill.id
                case KillScope.LINE if kill.value == line:
                    return kill.id
                case KillScope.DESTINATION if kill.value in (host, address) or host.endswith("." + kill.value):
                    return kill.id
        return ""
