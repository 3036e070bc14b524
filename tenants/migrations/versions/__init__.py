"""One file per step, named r<number>_<what>."""
