"""A linter for Durable Functions in Python: what a replay cannot stand, and traps of the SDK."""
