"""Policy as files: reading, checking, writing and importing them. Nothing here asks a node."""
