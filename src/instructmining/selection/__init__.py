"""Which rows to keep, and why: budgets, selection, decisions, explanations."""
