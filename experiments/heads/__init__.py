"""Training and measuring the small heads that come with the package."""
