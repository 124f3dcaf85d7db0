"""Export: a detector as one file of another format, checked against PyTorch, and loaded back by a runtime."""

from detkit.export.exporting import Exported, export_detector
from detkit.export.opening import is_exported, open_exported
from detkit.export.settings import ExportSettings

__all__ = ['ExportSettings', 'Exported', 'export_detector', 'is_exported', 'open_exported']
