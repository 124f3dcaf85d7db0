"""Analysis of data, of a model's errors, of its speed and of training runs, as ``detkit analyze`` shows it."""
