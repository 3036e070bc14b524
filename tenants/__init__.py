"""Who may come in: tenants, their credentials and places, and the register that holds them."""
