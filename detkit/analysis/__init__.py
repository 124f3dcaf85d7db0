"""Comparing models and looking into them: what the tools in ``tools/analyze`` are made of."""
