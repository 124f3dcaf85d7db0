"""Data types: annotations, the lazy scene, the batch's ground truth and the sample of one image."""

from detkit.structures.annotations import Annotations, Record
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.masks import InstanceMasks
from detkit.structures.panoptic import PanopticSegments
from detkit.structures.polygons import Polygons
from detkit.structures.scene import Scene, Tile

__all__ = [
    'Annotations',
    'DetDataSample',
    'GtBatch',
    'InstanceMasks',
    'PanopticSegments',
    'Polygons',
    'Record',
    'Scene',
    'Tile',
]
