"""Dedicated lines: how a packet is held on its line, the kernel state that holds it there, and who repairs it."""
