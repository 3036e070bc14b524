"""What exists abroad: names, their addresses on documentation prefixes (RFC 5737, RFC 3849), and the resolvers."""

HTTP, HTTPS, DNS = 80, 443, 53

SEARCH = "search.example"
PAPERS = "papers.example"
CODE = "code.example"
MIRROR = "mirror.code.example"
SIX = "six.example"  # IPv6 only
VIDEO = "video.example"  # on nobody's whitelist
INWARD = "inward.example"  # a name that leads back into the zone

NAMES: dict[str, tuple[str, ...]] = {
    SEARCH: ("203.0.113.10", "2001:db8:a::10"),
    PAPERS: ("203.0.113.20", "2001:db8:a::20"),
    CODE: ("198.51.100.30",),
    MIRROR: ("198.51.100.31",),
    SIX: ("2001:db8:a::66",),
    VIDEO: ("203.0.113.40", "2001:db8:a::40"),
    INWARD: ("10.61.2.10", "127.0.0.1", "::ffff:10.61.2.10"),
}
RESOLVERS = {"hk1": "203.0.113.53", "sg1": "198.51.100.53"}
PREFIXES = ("203.0.113.0/24", "198.51.100.0/24", "2001:db8:a::/48")
INSIDE = frozenset(NAMES[INWARD])
ADDRESSES = tuple(a for addresses in NAMES.values() for a in addresses if a not in INSIDE)
ALL_ADDRESSES = (*ADDRESSES, *RESOLVERS.values())
