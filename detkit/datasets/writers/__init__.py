"""Writing datasets in other formats, one file a format."""

from detkit.datasets.writers.convert import WRITERS, Conversion, convert_dataset

__all__ = ['WRITERS', 'Conversion', 'convert_dataset']
