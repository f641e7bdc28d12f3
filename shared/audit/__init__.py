"""Who did what, and who was refused: written beside every change, read by filters, exported, kept by TTL."""
