"""The population compiled into a snapshot directory that a node can serve from. (Rows straight from the population.)"""

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ipaddress import ip_address
from tenants.model import Side
from tests.bench import population
from whitelist import base, entries
from whitelist.signed import CURRENT, seal


def publish(state: Path, tenants: int, each: int) -> int:
    """Writes state/keys and state/snapshot at revision 1."""
    key = Ed25519PrivateKey.generate()
    (state / "keys").mkdir(parents=True)
    (state / "snapshot").mkdir()
    (state / "keys" / "snapshot.pub").write_bytes(key.public_key().public_bytes_raw())
    (state / "keys" / "snapshot.key").write_bytes(key.private_bytes_raw())
    current = base.write(state / "snapshot", 1, sorted(_rows(tenants, each)))
    (state / "snapshot" / CURRENT).write_bytes(seal(current, key))
    return 1


def _rows(tenants: int, each: int) -> Iterator[tuple[bytes, bytes]]:
    line = population.LINE
    fields = [getattr(line, f) for f in entries.LineEntry.__struct_fields__]
    yield b"l" + line.id.encode(), entries.encode(entries.LineEntry(*fields))
    for n in range(population.SERVICES):
        service = population.service(n)
        rows = [
            entries.EndpointEntry(service.id, e.target, e.ports, 0, (b"service:" + service.id.encode(),), service.special_prefixes)
            for e in service.endpoints
        ]
        yield b"h" + service.endpoints[0].target.encode(), entries.encode(rows)
    for n in range(tenants):
        tenant, credential = population.tenant(n), population.credential(n)
        packed = ip_address(population.source(n)).packed
        yield b"t" + tenant.id.encode(), entries.encode(
            entries.TenantEntry(
                tenant.id, tenant.state, tenant.valid_from, tenant.valid_until,
                (entries.PlaceEntry(tenant.places[0].interface, packed, packed, True),),
                (b"tenant:" + tenant.id.encode() + b"|",), n, tenant.max_tunnels,
            )
        )
        yield b"c" + credential.id.encode(), entries.encode(
            entries.CredentialEntry(credential.id, tenant.id, credential.user, bytes.fromhex(credential.token_sha256), credential.valid_until, 0)
        )
    for g in population.grants(tenants, each):
        entry = entries.GrantEntry(g.id, g.lines, g.window.valid_from, g.window.valid_until, 0, 0, None)
        yield f"g{g.subject}|{g.object}".encode(), entries.encode([entry])
