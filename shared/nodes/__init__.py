"""Nodes: enrolment, certificates, sessions, liveness, commands, and what a node has and holds."""
