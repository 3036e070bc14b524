"""TLS towards clients: a context per listener, a channel per connection; no socket is touched here."""
