"""Time, memory and complexity of models."""
