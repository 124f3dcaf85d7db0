"""Draw annotations and predictions on images."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.visualization.drawing import draw_data_sample, draw_instances
    from detkit.visualization.drawing_options import DrawingOptions
    from detkit.visualization.segments import draw_segments
    from detkit.visualization.sheets import batch_sheet, prediction_sheet

# The help of ``detkit predict`` shows the options of a drawing, and needs no PyTorch.
__getattr__ = lazy_names(
    __name__,
    {
        'DrawingOptions': 'drawing_options',
        'batch_sheet': 'sheets',
        'draw_data_sample': 'drawing',
        'draw_instances': 'drawing',
        'draw_segments': 'segments',
        'prediction_sheet': 'sheets',
    },
)

__all__ = [
    'DrawingOptions',
    'batch_sheet',
    'draw_data_sample',
    'draw_instances',
    'draw_segments',
    'prediction_sheet',
]
