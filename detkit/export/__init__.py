"""Export: a detector as one file of another format, checked against PyTorch, and loaded back by a runtime."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.export.exporting import Exported, ExportError, export_detector
    from detkit.export.opening import is_exported, open_exported
    from detkit.export.settings import ExportSettings

# The help of ``detkit export`` shows the settings, and needs no PyTorch.
__getattr__ = lazy_names(
    __name__,
    {
        'ExportError': 'exporting',
        'ExportSettings': 'settings',
        'Exported': 'exporting',
        'export_detector': 'exporting',
        'is_exported': 'opening',
        'open_exported': 'opening',
    },
)

__all__ = ['ExportError', 'ExportSettings', 'Exported', 'export_detector', 'is_exported', 'open_exported']
