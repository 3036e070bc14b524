"""Checks of a node before it runs (environment) and while it runs (running)."""
