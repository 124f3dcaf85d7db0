"""Pictures of images, batches and runs; importing this registers the hooks that make them."""

from detkit.visualization.curves import plot_curves, read_results
from detkit.visualization.drawing import draw_data_sample, draw_instances
from detkit.visualization.hooks import RunPicturesHook, SavePicturesHook
from detkit.visualization.segments import draw_segments
from detkit.visualization.sheets import batch_sheet, prediction_sheet

__all__ = [
    'RunPicturesHook',
    'SavePicturesHook',
    'batch_sheet',
    'draw_data_sample',
    'draw_instances',
    'draw_segments',
    'plot_curves',
    'prediction_sheet',
    'read_results',
]
