"""What a firm is shown of itself: its page, its refusals, its PAC file, its settings."""
