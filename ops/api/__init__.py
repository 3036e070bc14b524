"""Control's API: HTTP on a unix socket; every write to the register goes through here."""
