"""Ways of choosing data against each other: what each takes, and what came of it."""
