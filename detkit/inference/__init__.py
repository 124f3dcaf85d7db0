"""Prediction on images: ``Predictor`` and what it is made of. It needs a checkpoint, but no dataset."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.inference.counting import Area, AreaCounter
    from detkit.inference.folder_outputs import FolderOutputs
    from detkit.inference.model import detector_of_content, init_detector
    from detkit.inference.prediction_options import PredictionOptions
    from detkit.inference.predictor import Predictor
    from detkit.inference.result import Result
    from detkit.inference.results import Results
    from detkit.inference.source_image import SourceImage
    from detkit.inference.sources import KeptFrames, find_images, find_sources, images_of, require_images, require_read
    from detkit.inference.to_folder import ResultFolder
    from detkit.inference.tracking import track_sources
    from detkit.inference.video import Video, VideoFrame
    from detkit.inference.view_options import ViewOptions

# The help of ``detkit predict`` shows the options of a prediction, and needs no PyTorch.
__getattr__ = lazy_names(
    __name__,
    {
        'FolderOutputs': 'folder_outputs',
        'Area': 'counting',
        'AreaCounter': 'counting',
        'KeptFrames': 'sources',
        'PredictionOptions': 'prediction_options',
        'Predictor': 'predictor',
        'Result': 'result',
        'ResultFolder': 'to_folder',
        'Results': 'results',
        'SourceImage': 'source_image',
        'Video': 'video',
        'VideoFrame': 'video',
        'ViewOptions': 'view_options',
        'detector_of_content': 'model',
        'find_images': 'sources',
        'find_sources': 'sources',
        'images_of': 'sources',
        'init_detector': 'model',
        'require_images': 'sources',
        'require_read': 'sources',
        'track_sources': 'tracking',
    },
)

__all__ = [
    'FolderOutputs',
    'Area',
    'AreaCounter',
    'KeptFrames',
    'PredictionOptions',
    'Predictor',
    'Result',
    'ResultFolder',
    'Results',
    'SourceImage',
    'Video',
    'VideoFrame',
    'ViewOptions',
    'detector_of_content',
    'find_images',
    'find_sources',
    'images_of',
    'init_detector',
    'require_images',
    'require_read',
    'track_sources',
]
