"""Names of network devices: the one rule for them, in the register as in the kernel's tables. Pure."""

DEVICE_BYTES = 15  # IFNAMSIZ less the closing NUL
_FORBIDDEN = frozenset("/:\"'\\*\x7f")


def device_fault(name: str) -> str:
    """What is wrong with a device's name and what to do about it, or nothing. Stricter than the kernel's
    dev_valid_name(), since the name stands in the nft table: quotes, asterisks and non-ASCII are out too."""
    if not 0 < len(name) <= DEVICE_BYTES or not name.isascii() or name in (".", ".."):
        return "give 1 to 15 ASCII characters"
    if any(character <= " " or character in _FORBIDDEN for character in name):
        return "leave out spaces, quotes, slashes, colons and asterisks"
    return ""
