"""The meter: counts what Azure would bill, and shows it with list prices."""
