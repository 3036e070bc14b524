"""What may be reached: services, grants, denies, and the one verdict over them."""
