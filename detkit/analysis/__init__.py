"""Analysis of data, of a model's errors, of its speed and of training runs; the tools in ``tools/analyze`` use it."""
