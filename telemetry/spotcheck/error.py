"""The one error of this package."""


class SpotcheckError(ValueError):
    """A plan, a draw or a step that cannot be, or does not show what it should. str() says why, without a full stop."""
