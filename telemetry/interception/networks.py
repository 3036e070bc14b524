"""Countries and networks of addresses, from the operator's own file: lines of PREFIX,ASN,COUNTRY.

Feiyu brings no such data; without the file the fields dst_asn and dst_country are not recorded, and lint says so of
rules that need them. The longest prefix counts.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

FILE = "networks.csv"
MAX_LINES = 2_000_000


class NetworksError(ValueError):
    """A line that cannot be read: line from 1, what is wrong with it."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


class Networks:
    """Prefixes, looked up by the address's bits for each length that occurs (at most 33 + 129)."""

    def __init__(self, lines: Iterable[str]) -> None:
        tables: dict[tuple[int, int], dict[int, tuple[str, str]]] = {}
        for number, line in enumerate(lines, 1):
            if number > MAX_LINES:
                raise NetworksError(number, f"more than {MAX_LINES} lines")
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            parts = [part.strip() for part in text.split(",")]
            if len(parts) != 3 or not parts[1].removeprefix("AS").isdigit() or len(parts[2]) != 2:
                raise NetworksError(number, f"{text!r:.80} is not PREFIX,ASN,COUNTRY")
            try:
                network = ip_network(parts[0])
            except ValueError as error:
                raise NetworksError(number, str(error)) from None
            bits = network.max_prefixlen
            table = tables.setdefault((bits, network.prefixlen), {})
            table[int(network.network_address) >> (bits - network.prefixlen)] = (
                parts[1].removeprefix("AS"),
                parts[2].upper(),
            )
        self._tables = {
            bits: sorted(((n, table) for (b, n), table in tables.items() if b == bits), key=lambda t: -t[0])
            for bits in (32, 128)
        }
        self.find = lru_cache(maxsize=65_536)(self._find)

    def _find(self, text: str) -> tuple[str, str] | None:
        """The network's number and country, or None."""
        try:
            address = ip_address(text)
        except ValueError:
            return None
        bits, number = address.max_prefixlen, int(address)
        for length, table in self._tables[bits]:
            if found := table.get(number >> (bits - length)):
                return found
        return None
