"""Chinese for messages, table headings and states."""

MESSAGES_ZH: dict[str, str] = {}
