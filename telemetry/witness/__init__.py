"""Witnesses: others who hold a log to what it showed before, so that it cannot show two views of itself."""
