"""The ``detkit`` command: a module for each of its commands, which holds arguments and one call into the package.

The scripts in ``tools/`` are the same commands by the paths of a clone.
"""
