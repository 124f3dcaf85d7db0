"""Priorities of hooks, as names and as numbers."""

# Hooks of a smaller number are called first.
PRIORITIES = {
    'HIGHEST': 0,
    'VERY_HIGH': 10,
    'HIGH': 30,
    'ABOVE_NORMAL': 40,
    'NORMAL': 50,
    'BELOW_NORMAL': 60,
    'LOW': 70,
    'VERY_LOW': 90,
    'LOWEST': 100,
}


def priority_number(priority: int | str) -> int:
    """Return the number of a priority, which is a number or, in any case, a name of ``PRIORITIES``."""
    return priority if isinstance(priority, int) else PRIORITIES[priority.upper()]
