"""The same work in other frameworks, for benches only."""
