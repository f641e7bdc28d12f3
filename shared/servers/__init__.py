"""Servers: what members want to run, where it runs, and how it is."""
