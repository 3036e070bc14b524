"""Names resolved by the gateway itself, over the line that the flow will take."""
