"""The tenant: organizations, who belongs to them, and with which rights."""
