"""Bringing a running node to a configuration that was read again: all of it, or nothing and why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ops.children import Child
from ops.listeners import ListenError, Listeners
from ops.settings import Settings, SettingsError, load_settings
from ops.spawn import ProcessSpec

FIXED = ("state_dir", "run_dir", "users", "zone")  # what a running node cannot change


@dataclass(slots=True)
class Reload:
    """How the last reading of the configuration went. result: none, running, ok, rejected (nothing was changed), failed
    (the new workers did not get ready; the old configuration is back). at: Unix seconds."""

    result: str = "none"
    at: float = 0
    detail: str = ""
    accepted: int = 0
    refused: int = 0


class Node(Protocol):
    """What a reload needs of the supervisor."""

    path: Path
    settings: Settings
    children: dict[str, Child]
    listeners: Listeners

    def specs(self, settings: Settings) -> list[ProcessSpec]:
        """All processes these settings ask for."""

    def add_child(self, spec: ProcessSpec) -> Child:
        """A child that is kept from now on; not yet started."""

    def retire(self, name: str) -> None:
        """Drains a child that is no longer wanted, without waiting."""

    def write_config(self, settings: Settings) -> None:
        """Puts settings where children read them. Raises OSError."""


async def reload(node: Node) -> tuple[str, str]:
    """Reads the node's file again and puts it in force: the result and its detail, as in Reload."""
    old = node.settings
    try:
        new = load_settings(node.path)
    except SettingsError as error:
        return "rejected", str(error)
    if fixed := [key for key in FIXED if getattr(new, key) != getattr(old, key)]:
        return "rejected", f"{', '.join(fixed)} cannot change while the node runs: restart it for that"
    try:
        node.listeners.prepare(new.listeners, new.worker_count)
        node.write_config(new)
    except (ListenError, OSError) as error:
        return "rejected", str(error)
    node.settings = new
    specs = node.specs(new)
    if failed := await _roll(node, [spec for spec in specs if spec.role == "worker"], old):
        node.listeners.retain(old.listeners)
        return "failed", f"{failed} did not become ready with {node.path}; the old configuration is back"
    names = {spec.name for spec in specs}
    for name in [name for name in node.children if name not in names]:
        node.retire(name)
    if new != old:
        for spec in (spec for spec in specs if spec.role != "worker"):
            child = node.children.get(spec.name) or node.add_child(spec)
            await child.stop()
            child.spec = spec
            child.start()
    node.listeners.retain(new.listeners)
    return "ok", f"{node.path} is in force"


async def _roll(node: Node, specs: list[ProcessSpec], old: Settings) -> str:
    """Replaces the workers one by one; "" or the name of the one that failed, with everything as before."""
    rolled: list[str] = []
    for spec in specs:
        child = node.children.get(spec.name) or node.add_child(spec)
        if not await child.replace(spec):
            await _roll_back(node, rolled, spec.name, old)
            return spec.name
        rolled.append(spec.name)
    return ""


async def _roll_back(node: Node, rolled: list[str], failed: str, old: Settings) -> None:
    node.settings = old
    node.write_config(old)
    before = {spec.name: spec for spec in node.specs(old)}
    for name in [*rolled, failed]:
        if name not in before:
            node.retire(name)
        elif name in rolled:
            await node.children[name].replace(before[name])
