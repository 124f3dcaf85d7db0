"""``Predictor``: images in, data samples out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from detkit.datasets.collate import collate
from detkit.datasets.image_files import image_id_of
from detkit.datasets.transforms.geometry import LetterBox
from detkit.datasets.transforms.loading import LoadImageFromFile, UnreadableImageError, read_image
from detkit.datasets.transforms.pipeline import apply_transform
from detkit.engine.amp import resolve_amp
from detkit.inference.model import init_detector
from detkit.inference.sources import Source, find_images, unread_pictures
from detkit.inference.steps import input_size, prediction_steps
from detkit.models.detectors import ImageClassifier
from detkit.registry import TRANSFORMS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.data_sample import DetDataSample
from detkit.structures.sample import Sample
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.limits import MAX_PIXELS
from detkit.utils.rng import keyed_rng

_READERS = 4  # threads that decode while the network runs


class Predictor:
    """A detector, or classifier, ready to run on images.

        predictor = Predictor(None, 'work_dirs/seg_n_coco8/best.pth')
        for sample in predictor('photos/'):
            print(sample.img_path, sample.pred_instances.bboxes)

    Images are scaled so that the longer side becomes ``img_size``, and padded no further than the network needs; where
    the config's test pipeline resizes by the shorter side (DETR's), that becomes ``img_size``. A classifier gets the
    middle of the image instead, as its config's test pipeline cuts it, at ``img_size``; its data samples hold
    ``pred_scores`` and ``pred_label``.

    Args:
        config: a config file, a loaded config, or None for the one in the checkpoint.
        checkpoint: a ``.pth`` file of detkit. Instead of both, ``model`` may be given.
        device: the device to run on; the accelerator if there is one by default.
        img_size: the longer side (DETR: the shorter one; a classifier: its input); the config's test size by default.
        batch_size: images at a time.
        score_thr: least score of a prediction; a classifier always gives its best.
        iou_thr: of two predictions of a class that overlap more, the better one is kept.
        classes: names or numbers of the only classes to report; None for all.
        max_det: most predictions an image.
        agnostic_nms: predictions suppress those of other classes too.
        retina_masks: masks at the image's resolution inside exact boxes (True), or as coarse as the network's (False);
            None: the config's.
        amp: True, 'bf16' or 'fp16' for mixed precision.
        fuse: fold batch normalisation into the convolutions.
        options: changes to the config file, as ``--cfg-options``.
        model: a detector as ``init_detector`` returns it.

    Attributes:
        classifies: whether the model classifies whole images.
        skipped: ``(path, reason)`` of the images of the latest source that could not be read.

    Raises:
        ConfigError, CheckpointError: see ``init_detector``; or a class of ``classes`` is unknown.
    """

    def __init__(
        self,
        config: str | Path | Config | dict | None = None,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        img_size: int | None = None,
        batch_size: int = 1,
        score_thr: float = 0.25,
        iou_thr: float = 0.7,
        classes: Sequence[str | int] | None = None,
        max_det: int = 300,
        agnostic_nms: bool = False,
        retina_masks: bool | None = None,
        amp: bool | str = False,
        fuse: bool = True,
        options: Sequence[str] | dict | None = None,
        model: nn.Module | None = None,
    ) -> None:
        self.model = init_detector(config, checkpoint, device, fuse, options) if model is None else model
        self.classes: tuple[str, ...] = self.model.info.classes
        if batch_size < 1:
            raise ConfigError(f'batch_size is {batch_size}, but must be at least 1')
        self.batch_size = batch_size
        self.device = next(self.model.parameters()).device
        self._dtype = resolve_amp(amp, self.device)
        cfg = self.model.info.config
        self.classifies = cfg.get('task') == 'cls' or isinstance(self.model, ImageClassifier)
        self.img_size = img_size or input_size(cfg, self.classifies)
        if self.img_size < 32:
            raise ConfigError(f'the image size is {self.img_size}, but must be at least 32')
        self.score_thr = score_thr
        wanted: dict[str, Any] = {
            'score_thr': score_thr,
            'iou_thr': iou_thr,
            'max_per_img': max_det,
            'class_agnostic': agnostic_nms,
            'multi_label': False,
            'classes': _label_numbers(classes, self.classes),
        }
        if retina_masks is not None and cfg.get('task') == 'seg':
            wanted['retina_masks'] = retina_masks
        self.model = _with_options(self.model, wanted)
        self._pipeline = [TRANSFORMS.build(step) for step in prediction_steps(cfg, self.img_size, self.classifies)]
        # Letterboxes of a batch are padded to whole strides; padding would count in a classifier's mean.
        self._divisor = 32 if any(isinstance(step, LetterBox) for step in self._pipeline) else 1
        self._max_pixels = max(
            (step.max_pixels for step in self._pipeline if isinstance(step, LoadImageFromFile)), default=MAX_PIXELS
        )
        self.skipped: list[tuple[str, str]] = []

    def __call__(self, source: Source) -> Iterator[DetDataSample]:
        """Return a data sample an image, with ``pred_instances`` in its pixels, as they are made; see ``find_images``.

        Raises:
            DataError: ``source`` names no image. Images that cannot be read are left out and noted in ``skipped``.
        """
        return (sample for _, sample in self.stream(source))

    def predict(self, source: Source) -> list[DetDataSample]:
        """Return the predictions on all images of a source as a list; arguments as of calling the predictor."""
        return list(self(source))

    def stream(self, source: Source) -> Iterator[tuple[np.ndarray, DetDataSample]]:
        """Yield the decoded image ``(H, W, 3)`` RGB and its prediction; arguments as of calling the predictor."""
        images = find_images(source)
        self.skipped = [(skip.path, skip.reason) for skip in unread_pictures(source)]
        return self._stream(images)

    def _stream(self, images: list[str | np.ndarray]) -> Iterator[tuple[np.ndarray, DetDataSample]]:
        blocks = [
            range(start, min(start + self.batch_size, len(images))) for start in range(0, len(images), self.batch_size)
        ]
        with ThreadPoolExecutor(min(_READERS, self.batch_size)) as pool:
            # The next batch is decoded while the network works on this one.
            ahead = pool.map(self.prepare, *zip(*((images[i], i) for i in blocks[0]), strict=True))
            for number in range(len(blocks)):
                prepared = list(ahead)
                if number + 1 < len(blocks):
                    following = blocks[number + 1]
                    ahead = pool.map(self.prepare, [images[i] for i in following], following)
                self.skipped += [item for item in prepared if isinstance(item[1], str)]
                ready = [item for item in prepared if not isinstance(item[1], str)]
                if ready:
                    samples = self.predict_batch(collate([packed for _, packed in ready], size_divisor=self._divisor))
                    yield from zip((img for img, _ in ready), samples, strict=True)

    @torch.inference_mode()
    def predict_batch(self, batch: dict) -> list[DetDataSample]:
        """Run the network on what ``collate`` made."""
        inputs = self.model.data_preprocessor(batch, training=False)
        autocast = nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)
        with autocast:
            return self.model(**inputs, mode='predict')

    def prepare(self, image: str | np.ndarray, number: int) -> tuple[np.ndarray, dict] | tuple[str, str]:
        """Return (image, packed sample for ``collate``), or (path, reason) where it cannot be read.

        Args:
            image: a path, or a decoded image ``(H, W, 3)`` uint8 RGB.
            number: the id of an image that has no path.
        """
        path = image if isinstance(image, str) else f'image{number}'
        try:
            img = read_image(path, self._max_pixels) if isinstance(image, str) else np.ascontiguousarray(image)
        except UnreadableImageError as error:
            return error.path, error.reason
        record = Record(path, image_id_of(path), img.shape[:2], Annotations())
        sample: Any = Sample(record, keyed_rng(0, 0, number), may_mix=False, images={path: img})
        for transform in self._pipeline:
            sample = apply_transform(transform, sample, _no_others)
        return img, sample


def _no_others(count: int) -> list[Sample]:
    raise ConfigError('the test pipeline mixes several images (mosaic, mixup); prediction has one image at a time')


def _with_options(model: nn.Module, options: dict[str, Any]) -> nn.Module:
    """Return a model that shares its weights with ``model`` and has prediction options of its own."""
    shared = copy.copy(model)
    shared._modules = dict(model._modules)  # copy.copy shares this dict, in which the next line sets the head
    shared.head = copy.copy(model.head)
    shared.head.test_cfg = {**model.head.test_cfg, **options}
    return shared


def _label_numbers(wanted: Sequence[str | int] | None, classes: Sequence[str]) -> list[int] | None:
    """Return the labels of classes given by name or number."""
    if not wanted:
        return None
    numbers = []
    for entry in wanted:
        if str(entry) in classes:
            numbers.append(list(classes).index(str(entry)))
        elif str(entry).isdigit() and int(entry) < len(classes):
            numbers.append(int(entry))
        else:
            raise ConfigError(
                f'there is no class {entry!r} among the {len(classes)} of the model.{nearest(entry, classes)}'
            )
    return numbers
