"""Sign-in for the one-machine edition: a real BetterAuth server (Node) with a page to sign up and in."""
