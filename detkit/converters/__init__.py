"""Conversion of other projects' weights into detkit checkpoints: one file and one name table a project."""
