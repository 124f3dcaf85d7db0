"""Answer a question about data, a model, its speed or its training runs."""
