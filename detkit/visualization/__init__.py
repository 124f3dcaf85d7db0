"""Draw annotations and predictions on images."""

from detkit.visualization.drawing import draw_data_sample, draw_instances
from detkit.visualization.segments import draw_segments
from detkit.visualization.sheets import batch_sheet, prediction_sheet

__all__ = ['batch_sheet', 'draw_data_sample', 'draw_instances', 'draw_segments', 'prediction_sheet']
