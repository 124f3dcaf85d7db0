"""Training runs: logs, schedules, and the check before a run starts."""
