"""Helpers that know no other room: errors, downloads, keyed random numbers, tables, pictures, command lines."""
