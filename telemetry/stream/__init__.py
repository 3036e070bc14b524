"""The record stream on its way to others: files, syslog, webhooks, NATS, and whoever watches by server-sent events."""
