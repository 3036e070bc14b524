"""The data plane: one connection from listener to close, and the dedicated lines it leaves by."""
