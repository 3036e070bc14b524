"""Who checks that what opens something was approved by a second person: nobody, control alone, or the notary too."""

from pathlib import Path

from ops.doctor.finding import Finding, ok, skip, warn
from ops.settings import Settings

NAME = "approvals"


def examine(settings: Settings) -> Finding:
    """By the zone that control pinned beside the register, and the one that the configuration names."""
    pin = Path(settings.state_dir) / "zone"
    try:
        pinned = pin.read_text().strip() if pin.exists() else ""
    except OSError as error:
        return skip(NAME, f"{pin}: {error.strerror}", "ask as root")
    if settings.zone and pinned not in ("", settings.zone):
        remedy = f"correct zone in the configuration, or put this zone's register back; {pin} names {pinned}"
        return warn(NAME, "the configuration names another zone than the register's, so nothing is admitted", remedy)
    if settings.zone:
        return ok(NAME, "the notary checks each revision")
    if pinned:
        remedy = f"put `zone: {pinned}` into the configuration and restart the node"
        return warn(NAME, "control alone checks them, and nobody checks control", remedy)
    return ok(NAME, "there are no accounts: one person suffices for every change, marked bootstrap")
