"""``Detector``: one object over all rooms, for Python and notebooks."""

from detkit.api.detector import Detector

__all__ = ['Detector']
