"""The proxies a firm can use: this node's listeners as its programs reach them, or those that the settings name."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from ops.settings import Settings, split_address

SCHEMES = {"plain": "http", "http": "http", "socks5": "socks5h"}  # by kind of listener; others need no setting


@dataclass(frozen=True, slots=True)
class Way:
    """One proxy. scheme: http, https or socks5h; address: "host:port" or "[v6]:port"; token: whether a credential must
    be shown; listener: its name, "" for one that the settings name by URL; certificate: whether machines enrol there
    (one that is named by URL: where it speaks TLS)."""

    scheme: str
    address: str
    token: bool = True
    listener: str = ""
    certificate: bool = False

    @property
    def url(self) -> str:
        """As programs take it."""
        return f"{self.scheme}://{self.address}"

    @property
    def host(self) -> str:
        """Without brackets."""
        return split_address(self.address)[0]

    @property
    def port(self) -> int:
        """The port."""
        return split_address(self.address)[1]


def ways(settings: Settings, interfaces: Iterable[str], came_to: str = "") -> list[Way]:
    """Those for a firm whose places are behind these access interfaces, in the order of the configuration; the one that
    it was just reached by (came_to, "host:port") first. Listeners behind balancers, and those of other firms' access
    networks, are left out. One that listens on every address is named by came_to, else by the node's name."""
    mine = set(interfaces)
    tokens = [way for way in _listeners(settings, mine, came_to) if way.token]
    if settings.pac.gateways:
        pairs = [url.split("://", 1) for url in settings.pac.gateways]
        socks = [way for way in _listeners(settings, mine, came_to) if way.scheme == "socks5h"]
        return [Way(scheme, address, bool(tokens), certificate=scheme == "https") for scheme, address in pairs] + socks
    return sorted(_listeners(settings, mine, came_to), key=lambda way: way.address != came_to)


def _listeners(settings: Settings, mine: set[str], came_to: str) -> list[Way]:
    found = []
    for listener in settings.listeners:
        scheme = "https" if listener.tls is not None else SCHEMES.get(listener.kind)
        if scheme is None or listener.proxy_protocol or (listener.interface and listener.interface not in mine):
            continue
        host, port = listener.endpoint
        address = listener.address
        if ip_address(host).is_unspecified:
            named = split_address(came_to)[0] if came_to else settings.node
            address = f"[{named}]:{port}" if ":" in named else f"{named}:{port}"
        elif not _is_near(settings, host, mine):
            continue
        demands = listener.demands
        found.append(Way(scheme, address, "token" in demands, listener.name, "certificate" in demands))
    return found


def _is_near(settings: Settings, host: str, mine: set[str]) -> bool:
    """Whether the address is in the firm's access network, or in none."""
    at = ip_address(host)
    of = {a.interface for a in settings.access if any(at in ip_network(p) for p in a.prefixes)}
    return not of or bool(of & mine)
