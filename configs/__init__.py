"""Data only: models, units, example configurations."""
