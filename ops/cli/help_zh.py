"""Chinese for help texts."""

HELP_ZH: dict[str, str] = {}
