"""Spot checks (事后监管抽查): a sample of the log that nobody can have chosen, and what became of it."""
