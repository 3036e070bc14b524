"""What goes wrong on a firm's machine."""


class LinkError(Exception):
    """Said to the machine's owner, in the language in use: what happened, and what to do now."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Unreachable(LinkError):  # noqa: N818 - named for what is the case
    """A gateway was not reached, or broke off: another one may do."""


class Refused(LinkError):  # noqa: N818 - named for what happened
    """The gateway said no: another one would too. ref: its reference."""

    def __init__(self, what: str, remedy: str = "", ref: str = "") -> None:
        super().__init__(what, remedy)
        self.ref = ref
