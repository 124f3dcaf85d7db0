"""Numbers and charts about the predictions of a model: matching, errors, comparison of models."""
