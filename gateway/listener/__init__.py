"""Ways in: sockets that the supervisor opened and this worker accepts from."""
