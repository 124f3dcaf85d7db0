"""Data types: annotations, the lazy scene, the batch's ground truth and the sample of one image."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.structures.annotations import Annotations, Record
    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch
    from detkit.structures.masks import InstanceMasks
    from detkit.structures.panoptic import PanopticSegments
    from detkit.structures.polygons import Polygons
    from detkit.structures.scene import Scene, Tile

__getattr__ = lazy_names(
    __name__,
    {
        'Annotations': 'annotations',
        'DetDataSample': 'data_sample',
        'GtBatch': 'gt_batch',
        'InstanceMasks': 'masks',
        'PanopticSegments': 'panoptic',
        'Polygons': 'polygons',
        'Record': 'annotations',
        'Scene': 'scene',
        'Tile': 'scene',
    },
)

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
