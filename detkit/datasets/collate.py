"""``collate``: packed samples -> a batch, in the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.registry import FUNCTIONS
from detkit.structures.annotations import Annotations, coco_segmentations
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.render_plan import RenderPlan, stack_plans
from detkit.utils.errors import ConfigError
from detkit.utils.limits import MAX_PIXELS, PIXELS_VARIABLE

__all__ = ['collate']


@FUNCTIONS.register_module()
def collate(samples: Sequence[dict], pad_value: int = 114, size_divisor: int = 1) -> dict:
    """Make one batch of the outputs of ``PackInputs``.

    Args:
        samples: at least one.
        pad_value: the value of the area right of and below an image that is smaller than the batch's largest.
        size_divisor: the batch's height and width are rounded up to multiples of it.

    Returns:
        ``inputs`` uint8 ``(B, 3, H, W)`` in channels-last memory order, or a ``RenderPlan`` of images that the loader
        draws; ``gt``, a ``GtBatch``; ``data_samples``, one
        ``DetDataSample`` an image with its meta information and, where the sample has ``gt_raw``, ``gt_instances``
        (and ``gt_label`` where the whole image has a class);
        ``skipped``, the images that could not be read.
    """
    if all('drawing' in sample for sample in samples):
        inputs: Tensor | RenderPlan = stack_plans([sample['drawing'] for sample in samples])
        img_shapes = [inputs.size] * len(samples)
    else:
        inputs, img_shapes = _stack_images([sample['inputs'] for sample in samples], pad_value, size_divisor)
    annotations = [sample['annotations'] for sample in samples]
    gt = make_gt_batch(annotations, img_shapes)
    if any('masks' in sample for sample in samples):
        gt.masks = _stack_masks([sample['masks'] for sample in samples], gt.max_instances)
    if all('class_label' in sample for sample in samples):
        gt.class_labels = torch.tensor([sample['class_label'] for sample in samples], dtype=torch.int64)
    return {
        'inputs': inputs,
        'gt': gt,
        'data_samples': [_data_sample(sample) for sample in samples],
        'skipped': [skip for sample in samples for skip in sample.get('skipped', ())],
    }


def make_gt_batch(annotations: Sequence[Annotations], img_shapes: Sequence[tuple[int, int]]) -> GtBatch:
    """Pad the objects of B images to the largest count; masks are left out."""
    counts = np.array([len(own) for own in annotations])
    valid = np.arange(counts.max()) < counts[:, None]  # (B, M)

    def pad(arrays: list[np.ndarray], fill: float) -> Tensor:
        padded = np.full((*valid.shape, *arrays[0].shape[1:]), fill, arrays[0].dtype)
        padded[valid] = np.concatenate(arrays)  # rows of the images in order, as boolean indexing goes
        return torch.from_numpy(padded)

    return GtBatch(
        labels=pad([own.labels for own in annotations], -1),
        bboxes=pad([own.bboxes for own in annotations], 0),
        valid=torch.from_numpy(valid),
        flat_index=torch.from_numpy(np.flatnonzero(valid)),
        img_shapes=torch.tensor(img_shapes, dtype=torch.int64),
        keypoints=_pad_optional(annotations, 'keypoints', pad),
        rbboxes=_pad_optional(annotations, 'rbboxes', pad),
        values={name: pad([value], 0) for name, value in _own_values(annotations).items()},
    )


def _own_values(annotations: Sequence[Annotations]) -> Mapping[str, np.ndarray]:
    """Return the own values of the objects of all images, in order.

    Raises:
        ConfigError: an object has none where others have.
    """
    if not any(own.values for own in annotations):
        return {}
    try:
        return Annotations.concatenate(
            [Annotations(own.labels, own.bboxes, values=own.values) for own in annotations]
        ).values
    except ValueError as error:
        raise ConfigError(f'{error}; a dataset gives each object of each image the same values') from error


def _pad_optional(annotations: Sequence[Annotations], name: str, pad) -> Tensor | None:
    """Return an array that some images may lack: those without any object, whose reader could not know of it."""
    arrays = [getattr(own, name) for own in annotations]
    shape = next((array.shape[1:] for array in arrays if array is not None), None)
    if shape is None:
        return None
    filled = [
        np.zeros((len(own), *shape), np.float32) if array is None else array
        for own, array in zip(annotations, arrays, strict=True)
    ]
    return pad(filled, 0)


def _stack_images(images: list[Tensor], pad_value: int, size_divisor: int) -> tuple[Tensor, list[tuple[int, int]]]:
    img_shapes = [tuple(img.shape[1:]) for img in images]
    height, width = (-(-max(sides) // size_divisor) * size_divisor for sides in zip(*img_shapes, strict=True))
    if height * width > MAX_PIXELS:
        raise ConfigError(
            f'images are padded to {height} x {width} by size_divisor={size_divisor}, more than {MAX_PIXELS:,} pixels: '
            f'give a smaller divisor, or raise the limit by {PIXELS_VARIABLE}'
        )
    # NumPy copies in this thread. PyTorch would share the few bytes with threads that wait for a core others use.
    batch = np.empty((len(images), height, width, 3), np.uint8)
    for slot, img, (h, w) in zip(batch, images, img_shapes, strict=True):
        slot[h:] = pad_value
        slot[:h, w:] = pad_value
        slot[:h, :w] = img.permute(1, 2, 0).numpy()  # (3, h, w) -> (h, w, 3)
    return torch.from_numpy(batch).permute(0, 3, 1, 2), img_shapes  # (B, H, W, 3) -> (B, 3, H, W)


def _stack_masks(masks: list[np.ndarray], max_instances: int) -> Tensor:
    """Stack index maps ``(h, w)`` to ``(B, h, w)``, bool masks ``(N, h, w)`` to ``(B, M, h, w)``; pad smaller ones."""
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (-2, -1))
    dtype = np.result_type(*masks)
    lead = (max_instances,) if masks[0].ndim == 3 else ()
    stacked = np.zeros((len(masks), *lead, height, width), dtype)
    for slot, mask in zip(stacked, masks, strict=True):
        slot[(*(slice(n) for n in mask.shape),)] = mask
    return torch.from_numpy(stacked)


def _data_sample(sample: dict) -> DetDataSample:
    data_sample = DetDataSample()
    for name, value in sample['meta'].items():  # set_metainfo would copy all of it, deeply
        data_sample.set_field(value, name, field_type='metainfo')
    raw: Annotations | None = sample.get('gt_raw')
    if raw is not None:
        # Arrays rather than tensors: each tensor would cross from the worker in a shared file of its own. And copies,
        # as the arrays of the dataset must not be changed.
        own = dict(labels=raw.labels, bboxes=raw.bboxes, ignored=raw.ignored, areas=raw.areas)
        more = dict(keypoints=raw.keypoints, rbboxes=raw.rbboxes, **raw.values)
        own |= {name: value for name, value in more.items() if value is not None}
        instances = InstanceData(**{name: value.copy() for name, value in own.items()})
        if raw.polygons is not None or raw.rles is not None:
            instances.masks = coco_segmentations(raw)
        data_sample.gt_instances = instances
        if 'class_label' in sample:
            data_sample.gt_label = sample['class_label']
    return data_sample
