"""Networks and all that is part of one."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.base_module import BaseModule
    from detkit.models.data_preprocessor import DetDataPreprocessor

__getattr__ = lazy_names(__name__, {'BaseModule': 'base_module', 'DetDataPreprocessor': 'data_preprocessor'})

__all__ = ['BaseModule', 'DetDataPreprocessor']
