"""Where a server goes: a pure decision over nodes, with the reason for each node that cannot take it."""
