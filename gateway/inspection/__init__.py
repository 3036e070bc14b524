"""Inspection: what a grant lets look into is decrypted by mitmproxy, in a process of its own without a network."""
