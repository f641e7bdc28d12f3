"""Runs the whole house on one machine: every part a process of its own, one terminal, one log."""
