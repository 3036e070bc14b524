"""Running a node: supervisor, control, command line, checks and the demonstration zone."""
