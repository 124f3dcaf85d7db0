"""``ViewPredictor``: sliced inference and test-time augmentation of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.inference.fusion import fuse_predictions
from detkit.inference.tiling import join_tiles, parts_of
from detkit.inference.view_options import ViewOptions
from detkit.inference.views import View, shifted, unflipped
from detkit.structures.data_sample import DetDataSample
from detkit.utils.allocator import give_back_memory
from detkit.utils.errors import ConfigError

# A view's packed sample from its pixels ``(h, w, 3)`` and the scale of its augmentation; ``collate`` takes it.
Pack = Callable[[np.ndarray, float], dict]
# The predictions on packed samples.
PredictPacked = Callable[[list[dict]], list[DetDataSample]]


class ViewPredictor:
    """Prediction on the views of an image, tiles and augmented copies, merged into one.

    Copies of a part are fused first, then the parts are joined; see ``fuse_predictions`` and ``join_tiles``. An image
    with a single plain view is predicted on as without views, exactly.

    Args:
        options: which views, and how they are merged.
        test_cfg: the options of the head, of which ``iou_thr``, ``score_thr``, ``max_per_img`` and ``class_agnostic``
            hold for the merged predictions, too.
        keypoints: what is known of the model's keypoints, see ``ModelInfo``.
        classifies: whether the model classifies whole images.
        batch_size: views at a time.

    Raises:
        ConfigError: a classifier cannot be tiled; or keypoints are to be flipped, and the pairs are unknown.
    """

    def __init__(
        self,
        options: ViewOptions,
        test_cfg: Mapping[str, Any],
        keypoints: Mapping[str, Any],
        classifies: bool,
        batch_size: int,
    ) -> None:
        self.options = options
        self.augmentations = options.augmentations
        self.test_cfg = test_cfg
        self.batch_size = batch_size
        if classifies and options.tile is not None:
            raise ConfigError('tile is for detectors: a classifier looks at the whole image; leave tile out')
        flips = any(augmentation.flip for augmentation in self.augmentations)
        self.flip_pairs: Sequence[Sequence[int]] = keypoints.get('flip_pairs') or ()
        if flips and keypoints and keypoints.get('flip_pairs') is None:
            raise ConfigError(
                'tta flips images, but it is not known which keypoints of the model are left and right pairs: give '
                "flip_pairs in the dataset's metainfo and train with it, or set tta to scales alone, such as "
                "['plain', 0.8]"
            )

    def predict(self, img: np.ndarray, meta: Mapping[str, Any], pack: Pack, run: PredictPacked) -> DetDataSample:
        """Return the prediction on an image ``(H, W, 3)`` uint8 RGB, in its pixels.

        Args:
            img: the image; memory-mapped pixels are read tile by tile.
            meta: what the data sample's meta information says of the image.
            pack: prepares a view.
            run: predicts on prepared views.

        Raises:
            ConfigError: the model divides the whole image into segments.
        """
        shape = img.shape[:2]
        rects = parts_of(shape, self.options)
        views = [View(rect, augmentation) for augmentation in self.augmentations for rect in rects]
        samples = list(give_back_memory(self._run(views, img, pack, run)))
        if len(views) == 1 and not views[0].augmentation.flip:
            return samples[0]
        result = DetDataSample(metainfo={**meta, 'ori_shape': shape, 'img_shape': shape, 'matrix': np.eye(3)})
        if 'pred_scores' in samples[0]:
            result.pred_scores = torch.stack([sample.pred_scores for sample in samples]).mean(0)
            result.pred_label = int(result.pred_scores.argmax())
            return result
        found = [self._in_part(sample, view) for sample, view in zip(samples, views, strict=True)]
        agnostic = bool(self.test_cfg.get('class_agnostic', False))
        parts = [self._fused(found[index :: len(rects)], agnostic) for index in range(len(rects))]
        if len(parts) > 1:
            parts = [shifted(part, rect[:2], shape) for part, rect in zip(parts, rects, strict=True)]
            parts = [join_tiles(parts, rects, shape, self.options, agnostic)]
        result.pred_instances = parts[0][: self.test_cfg.get('max_per_img', len(parts[0].scores))]
        return result

    def _run(self, views: Sequence[View], img: np.ndarray, pack: Pack, run: PredictPacked) -> Iterator[DetDataSample]:
        """Yield the prediction on each view; the next batch is prepared while the network works on this one."""

        def prepare(view: View) -> dict:
            return pack(view.of(img), view.augmentation.scale)

        remaining = iter(views)
        with ThreadPoolExecutor(min(4, self.batch_size)) as pool:
            ahead = pool.map(prepare, islice(remaining, self.batch_size))
            while packed := list(ahead):
                ahead = pool.map(prepare, islice(remaining, self.batch_size))
                for batch in _same_shapes(packed):
                    samples = run(batch)
                    if len(views) > 1 and 'pred_panoptic' in samples[0]:
                        raise ConfigError(
                            'tile and tta merge objects, but the model divides the whole image into segments; leave '
                            'them out'
                        )
                    yield from samples

    def _in_part(self, sample: DetDataSample, view: View) -> InstanceData:
        """Return the predictions on a view in pixels of its part, as it is in the image."""
        x0, y0, x1, y1 = view.rect
        return unflipped(sample.pred_instances, (y1 - y0, x1 - x0), view.augmentation.flip, self.flip_pairs)

    def _fused(self, copies: list[InstanceData], class_agnostic: bool) -> InstanceData:
        """Return one prediction for a part from those on its augmented copies."""
        if len(copies) == 1:
            return copies[0]
        iou_thr = self.test_cfg.get('iou_thr', 0.7)
        fused = fuse_predictions(copies, self.options.tta_merge, iou_thr, class_agnostic)
        # The mean score of weighted box fusion may be lower than any single one.
        return fused[fused.scores > self.test_cfg.get('score_thr', 0.0)]


def _same_shapes(packed: Sequence[dict]) -> list[list[dict]]:
    """Divide prepared views into runs of one shape, as padding to the largest would be computed in vain."""
    batches: list[list[dict]] = []
    for item in packed:
        if batches and batches[-1][0]['inputs'].shape == item['inputs'].shape:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches
