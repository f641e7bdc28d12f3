"""Tasks: how one gets from one state to another, with steps, a deadline, and a retry."""
