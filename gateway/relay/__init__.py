"""Moving bytes between a client and its line."""
