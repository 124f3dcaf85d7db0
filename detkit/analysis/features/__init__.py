"""Feature maps and class activation maps of a model."""
