"""Lines and a node to plan for."""

from dataclasses import replace

from gateway.line.model import Access, ControlTraffic, Management, NodeConfig, Transparent
from whitelist.model import Line

NODE = NodeConfig(
    access=(
        Access(interface="acc0", prefixes=("10.0.0.0/24", "10.0.0.128/25", "fd00:1::/64")),
        Access(interface="acc1", prefixes=("10.1.0.0/24",)),
        Access(interface="acc0", prefixes=("10.2.0.0/24",)),
    ),
    listener_ports=(3128, 1080, 3128),
    listener_addresses=("10.9.0.1", "fd00:9::1"),
    worker_uids=(62001,),
    control_traffic=(ControlTraffic(uid=62003, interface="mgmt0", destination="192.168.9.5"),),
    management=(Management(interface="mgmt0", prefixes=("192.168.8.0/24", "fd00:8::/64")),),
)

TAKING = replace(
    NODE,
    transparent=(
        Transparent(interface="acc0", address="10.0.0.1", port=3130),
        Transparent(interface="acc0", address="fd00:1::1", port=3131),
        Transparent(interface="acc1", address="10.1.0.1", port=3130),
    ),
)


def line(number: int, **changes: object) -> Line:
    """A line with both families on device iplcN."""
    fields: dict[str, object] = {
        "id": f"line-{number}",
        "index": number,
        "device": f"iplc{number}",
        "gateway4": f"198.51.{number}.1",
        "source4": f"198.51.{number}.2",
        "gateway6": f"2001:db8:{number}::1",
        "source6": f"2001:db8:{number}::2",
        "resolvers": ("203.0.113.53",),
    }
    return Line(**(fields | changes))  # type: ignore[arg-type]  # the fields of a table
