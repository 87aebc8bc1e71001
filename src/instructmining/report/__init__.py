"""What a stage came to: plain-data summaries, then ways of showing them."""
