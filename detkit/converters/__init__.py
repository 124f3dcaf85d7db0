"""Weights of other projects -> detkit, one key table each."""
