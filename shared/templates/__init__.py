"""Templates: what a kind of game server is made of, and how a server's spec is rendered from it."""
