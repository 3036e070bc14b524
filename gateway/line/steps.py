"""The steps that change the kernel's state, each as a value that says in words what it does. Pure."""

from dataclasses import dataclass

from gateway.line.overlay import Device
from gateway.line.routing import Route, Rule


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"add {self.rule}"


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Delete this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"delete {self.rule}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add this route."""

    route: Route

    def __str__(self) -> str:
        return f"add {self.route}"


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete this route."""

    route: Route

    def __str__(self) -> str:
        return f"delete {self.route}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write value to path (below /proc/sys); was: what stood there."""

    path: str
    value: str
    was: str

    def __str__(self) -> str:
        return f"set {self.path} = {self.value} (was {self.was})"


@dataclass(frozen=True, slots=True)
class LoadTable:
    """Replace the nft table as a whole; why: "missing", "edited" or "new"."""

    why: str

    def __str__(self) -> str:
        return f"load table inet feiyu ({self.why})"


@dataclass(frozen=True, slots=True)
class AddDevice:
    """Make this device; it stays down and without addresses."""

    device: Device

    @property
    def name(self) -> str:
        """Of the device, as in every step on one."""
        return self.device.name

    def __str__(self) -> str:
        return f"make {self.device}"


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Take a device of ours away."""

    name: str

    def __str__(self) -> str:
        return f"delete device {self.name}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put a line's source on a device of ours."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"add address {self.address} to {self.name}"


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    """Take an address off a device of ours that is none of the line's sources (any more)."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"delete address {self.address} of {self.name}"


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the size of the largest packet, in bytes, of a device of ours."""

    name: str
    mtu: int

    def __str__(self) -> str:
        return f"set {self.name} mtu {self.mtu}"


@dataclass(frozen=True, slots=True)
class SetUp:
    """Set a device of ours up."""

    name: str

    def __str__(self) -> str:
        return f"set {self.name} up"


@dataclass(frozen=True, slots=True)
class SetTunnelSource:
    """Set the node's SRv6 source address."""

    address: str
    was: str

    def __str__(self) -> str:
        return f"set the SRv6 source address {self.address} (was {self.was or 'none'})"


DeviceStep = AddDevice | DeleteDevice | AddAddress | DeleteAddress | SetMtu | SetUp
Action = LoadTable | SetSysctl | AddRule | DeleteRule | AddRoute | DeleteRoute | DeviceStep | SetTunnelSource
