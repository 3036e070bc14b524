"""The worker's side of inspection: an inspected tunnel makes a detour through an inspector, and stays the worker's."""
