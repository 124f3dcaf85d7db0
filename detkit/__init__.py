"""detkit: detectors composed from registered parts."""

__version__ = '0.1.0'
