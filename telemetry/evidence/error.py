"""The one error of this package."""


class EvidenceError(ValueError):
    """Something does not prove what it should. str() names the first wrong thing, without a full stop."""
