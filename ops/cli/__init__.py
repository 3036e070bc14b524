"""The `feiyu` command: a client of control's API, one file per group of commands."""
