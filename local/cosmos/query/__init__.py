"""Cosmos SQL: grammar, syntax tree, evaluator, push-down into SQLite, plans."""
