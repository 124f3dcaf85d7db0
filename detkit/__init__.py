"""detkit: detectors composed from registered parts."""

from typing import TYPE_CHECKING

from detkit.utils.late_yapf import postpone_yapf
from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.api import Detector

__version__ = '0.2.0'
__all__ = ['Detector', '__version__']
postpone_yapf()
__getattr__ = lazy_names(__name__, {'Detector': 'api'})
