"""Reading the bitmaps of panoptic datasets."""

from __future__ import annotations

from dataclasses import replace

from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.registry import TRANSFORMS
from detkit.structures.annotations import Record, SegmentFile
from detkit.structures.masks import InstanceMasks
from detkit.structures.panoptic import rgb_to_ids
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene
from detkit.utils.errors import ConfigError

__all__ = ['LoadSegments', 'read_segments']


@TRANSFORMS.register_module()
class LoadSegments:
    """Give the objects of a panoptic dataset their bitmaps; comes directly after ``LoadImageFromFile``.

    From there on they are moved, cut and drawn as any object that is known by an RLE. Without this transform the
    objects are boxes alone, and no PNG is read.

    Raises:
        ConfigError: the image has objects, but the dataset no such bitmaps.
        UnreadableImageError: the PNG is broken, of another size than the image, or lacks a segment.
    """

    stage = 'geometry'
    needs_annotations = True

    def __call__(self, sample: Sample) -> Sample:
        record: Record = sample.record
        if not len(record.annotations):  # also for the grey image that replaces an unreadable one
            return sample
        if record.segments is None:
            raise ConfigError(
                f'LoadSegments: the dataset of {record.img_path} has no bitmaps of segments. Use it with '
                'CocoPanopticDataset, or leave it out of the pipeline.'
            )
        annotations = replace(record.annotations, rles=read_segments(record.segments, sample.ori_shape))
        scene = sample.scene
        tiles = tuple(replace(tile, annotations=annotations) for tile in scene.tiles)
        return replace(sample, record=replace(record, annotations=annotations), scene=Scene(scene.size, tiles))


def read_segments(segments: SegmentFile, shape: tuple[int, int]) -> list[dict]:
    """Return the bitmaps of an image of (h, w), one COCO RLE an object.

    Raises:
        UnreadableImageError: the PNG is broken, of another size than the image, or lacks a segment.
    """
    path, wanted = segments.path, segments.ids
    img = read_image(path)
    if img.shape[:2] != tuple(shape):
        found, stated = ('x'.join(map(str, size[::-1])) for size in (img.shape[:2], shape))
        raise UnreadableImageError(path, f'is {found} pixels, but its image {stated}')
    ids = rgb_to_ids(img)
    masks = InstanceMasks.from_bool(ids == wanted[:, None, None])
    missing = wanted[masks.areas == 0]
    if len(missing):
        raise UnreadableImageError(path, f'has no pixel of the segment {missing[0]} that the json lists')
    return masks.to_rle()
