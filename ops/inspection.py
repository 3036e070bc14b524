"""The node's side of inspection's certificates: which hosts a firm's intermediate is to speak for, and where it lies.

state_dir/inspection/TENANT.pem: certificate and key, for the inspectors alone (0600). The firm's root is elsewhere.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from telemetry.whole import write_whole
from tenants import ca, inspection_ca
from tenants.ca import Authority, CaError

Item = dict[str, Any]


def inspected_hosts(tenant: Item, grants: Iterable[Item], services: Iterable[Item]) -> list[str]:
    """The TLS targets of all that the firm, or a group of it, reaches inspected, sorted. Items as the API has them."""
    subjects = {f"tenant:{tenant['id']}", *(f"group:{group}" for group in tenant.get("groups", ()))}
    objects = {
        grant["object"]
        for grant in grants
        if grant.get("inspect") and grant["subject"] in subjects and grant.get("state", "EFFECTIVE") == "EFFECTIVE"
    }
    return sorted(
        {
            endpoint["target"]
            for service in services
            if objects & {f"service:{service['id']}", *(f"category:{c}" for c in service.get("categories", ()))}
            for endpoint in service["endpoints"]
            if endpoint.get("protocol", "tls") == "tls"
        }
    )


def make_root(directory: Path, tenant: str, state: Path) -> Authority:
    """A firm's root into a directory that is taken away. Raises CaError where one is there, OSError."""
    if (directory / "root.key").exists():
        raise CaError(f"{directory / 'root.key'} is there already: feiyu inspection renew uses it")
    if directory.resolve().is_relative_to(state.resolve()):
        raise CaError(f"{directory} is on the node: the root's key belongs on a medium that is taken away")
    root = inspection_ca.new_root(tenant, int(time.time()))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(directory / "root.key", ca.key_pem(root.key), 0o600)
    write_whole(directory / "root.crt", ca.pem(root.certificate), 0o644)
    return root


def issue(directory: Path, tenant: str, hosts: list[str], authorities: Path, life: int) -> Authority:
    """A new intermediate in force for inspectors, who read it again by themselves. directory: of the root; life:
    seconds. Raises CaError, OSError."""
    root = ca.load((directory / "root.crt").read_bytes(), (directory / "root.key").read_bytes())
    if root.zone != tenant:
        raise CaError(f"{directory} holds the root of {root.zone}, not of {tenant}")
    made = inspection_ca.new_intermediate(root, hosts, int(time.time()), life)
    authorities.mkdir(mode=0o750, parents=True, exist_ok=True)
    status = authorities.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    write_whole(authorities / f"{tenant}.pem", inspection_ca.bundle(made), 0o600, owner)
    return made
