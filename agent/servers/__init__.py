"""Servers on this node: installing, configuring, starting, watching, and what is told about them."""
