"""``Predictor``: images in, data samples out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from detkit.config.words import options_of_call
from detkit.datasets.image_files import image_id_of
from detkit.datasets.transforms.reduced_decoding import DecodedImage
from detkit.engine.amp import check_takes_amp, resolve_amp, warn_of_amp
from detkit.inference.gpu_decoding import Decode, jpeg_decoder
from detkit.inference.model import init_detector, refuse_training
from detkit.inference.prediction_options import THRESHOLDS, PredictionOptions
from detkit.inference.preparation import Preparation, scaled_preparations
from detkit.inference.side_by_side import is_faster_side_by_side, side_by_side
from detkit.inference.source_image import SourceImage
from detkit.inference.sources import Source, find_sources, images_of
from detkit.inference.steps import check_input_size, input_size
from detkit.inference.view_predictor import ViewPredictor
from detkit.inference.vocabulary import has_open_vocabulary, label_of, names_of, why_fixed, with_vocabulary
from detkit.models.detectors import BaseDetector
from detkit.models.layers.packed import forget_changed, state_of
from detkit.structures.data_sample import DetDataSample
from detkit.utils.allocator import give_back_memory, keep_freed_memory
from detkit.utils.call_options import check_flag
from detkit.utils.device import check_default_type
from detkit.utils.errors import ConfigError, DataError, nearest, shorten
from detkit.utils.interrupts import die_of_interrupts_at_exit

_log = logging.getLogger(__name__)
_READERS = 4  # threads that decode while the network runs


class Prepared(NamedTuple):
    """An image, and its sample as ``collate`` takes it.

    Attributes:
        img: ``(H, W, 3)`` uint8 RGB; None where it was decoded at a part of its size.
        packed: the sample.
    """

    img: np.ndarray | None
    packed: dict


class Predicted(NamedTuple):
    """An image of a source, its pixels ``(H, W, 3)`` uint8 RGB, and its prediction.

    There are no pixels (None) where the image cannot be read, or was decoded at a part of its size.
    """

    image: SourceImage
    img: np.ndarray | None
    sample: DetDataSample


class ListedClasses(NamedTuple):
    """The classes of a classified image that are listed: so many, none of less probability save the first."""

    min_prob: float
    most: int


FIVE_BEST = ListedClasses(0.0, 5)


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
        checkpoint: a ``.pth`` file of detkit, or an exported file. Instead of both, ``model`` may be given.
        device: the device to run on; the accelerator if there is one by default.
        fuse: fold batch normalisation into the convolutions.
        cfg_options: changes to the config file.
        model: a detector as ``init_detector`` returns it.
        runtime: the runtime of an exported file, see ``init_detector``.
        options: see ``PredictionOptions``.

    Attributes:
        options: the options, with the thresholds that were found for those not given.
        classifies: whether the model classifies whole images.
        listed: the classes that a classifier's results list; ``score_thr`` and ``max_per_img`` where these are given.

    Raises:
        TypeError: an option is unknown.
        ConfigError, CheckpointError: see ``init_detector``; or an option has a value that makes no sense.
    """

    def __init__(
        self,
        config: str | Path | Config | dict | None = None,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        fuse: bool = True,
        cfg_options: Sequence[str] | dict | None = None,
        model: nn.Module | None = None,
        runtime: str | None = None,
        **options: Any,
    ) -> None:
        others = ('device', 'fuse', 'cfg_options', 'model', 'runtime')
        given = options_of_call(PredictionOptions, options, 'a Predictor', others)
        check_flag('fuse', fuse)
        check_default_type()
        die_of_interrupts_at_exit()
        if model is None:
            model = init_detector(config, checkpoint, device, fuse, cfg_options, runtime, given.amp)
        self.model = model
        names = names_of(given.classes, self.model.info.classes) if has_open_vocabulary(self.model) else None
        if given.text_embeddings is not None and names is None:
            raise ConfigError(
                'text_embeddings is the file of the embeddings of classes: give it with names as classes, to an '
                'open-vocabulary model'
            )
        if names is not None:
            self.model = with_vocabulary(self.model, names, given.text_embeddings)
        self._whole, self._state = self.model, state_of(self.model)
        if isinstance(self.model, BaseDetector):
            self.model = self.model.reparameterized()
        self._is_folded = self.model is not self._whole
        self.classes: tuple[str, ...] = self.model.info.classes
        self.device = self.model.data_preprocessor.device
        if self.device.type == 'cpu':
            keep_freed_memory()
        self._dtype = resolve_amp(given.amp, self.device, 'amp')
        check_takes_amp(self.model, given.amp)
        warn_of_amp(given.amp, self.device, self.model.is_exported)
        cfg = self.model.info.config
        self.classifies = cfg.get('task') == 'cls' or self.model.classifies
        self.options = given.with_thresholds(cfg.get('predict_cfg') or {})
        self.img_size = _input_size(self.model, given.img_size, self.classifies)
        listed = {'min_prob': given.score_thr, 'most': given.max_per_img}
        self.listed = FIVE_BEST._replace(**{key: value for key, value in listed.items() if value is not None})
        wanted: dict[str, Any] = {
            **{name: getattr(self.options, name) for name in (*THRESHOLDS, 'class_agnostic')},
            'multi_label': self.model.head.MULTI_LABEL and not self.options.class_agnostic,
            'classes': None if names else _label_numbers(given.classes, self.model),
        }
        if given.retina_masks is not None:
            wanted['retina_masks'] = given.retina_masks
        for name in _without_effect(given, self.model.head.TEST_KEYS, self.classifies):
            _warn_once(f'{name} has no effect on the predictions of {type(self.model.head).__name__}')
        self.model = _with_options(self.model, wanted)
        self.model.check_thresholds()
        fixed_size = self.model.input_size
        self._preparation = Preparation(cfg, self.img_size, self.classifies, fixed_size)
        self._decode = _gpu_decoder(self.device) if given.gpu_decoding else None
        self._views = None
        if given.views:
            scales = {augmentation.scale for augmentation in given.augmentations}
            self._preparations = scaled_preparations(cfg, self.img_size, self.classifies, fixed_size, scales)
            self._views = ViewPredictor(
                given, self.model.head.test_cfg, self.model.info.keypoints, self.classifies, given.batch_size
            )

    def __call__(self, source: Source) -> Iterator[DetDataSample]:
        """Return a data sample an image, with ``pred_instances`` in its pixels, as they are made; see ``find_sources``.

        The data sample of an image that cannot be read has ``skipped``, a sentence that says why, and no objects.

        Raises:
            DataError: ``source`` is no list and names no image.
        """
        return (predicted.sample for predicted in self.stream(source))

    def predict(self, source: Source) -> list[DetDataSample]:
        """Return the predictions on all images of a source as a list; arguments as of calling the predictor."""
        return list(self(source))

    def stream(self, source: Source) -> Iterator[Predicted]:
        """Return each image of a source with its prediction, as they are made.

        Arguments and errors are those of calling the predictor.
        """
        return self.stream_images(images_of(find_sources(source)))

    def stream_images(self, images: Iterable[SourceImage]) -> Iterator[Predicted]:
        """Return each image with its prediction; images are taken and decoded one batch ahead of the network.

        Of a sequence of images, two batches of small inputs may be worked on at a time, see ``is_faster_side_by_side``.

        Args:
            images: what to predict on, of any number: an iterator is advanced in another thread, by two batches at most
                before the results of the first are taken.
        """
        self._follow_weights()
        predicted = self._stream_whole(images) if self._views is None else self._stream_views(images)
        return give_back_memory(predicted)

    def _follow_weights(self) -> None:
        """Let what was computed from weights before, packed or folded ones, be that of their values now."""
        forget_changed(self.model)
        state = state_of(self._whole) if self._is_folded else self._state
        if state != self._state:
            self.model = _with_options(self._whole.reparameterized(), self.model.head.test_cfg)
            self._state = state

    def _stream_whole(self, images: Iterable[SourceImage]) -> Iterator[Predicted]:
        """Yield each image with its prediction on the whole of it."""
        size = self.options.batch_size
        if is_faster_side_by_side(self.model, images, size, self.img_size):
            yield from side_by_side(self._of_batch, images, size)
            return
        remaining = iter(images)
        numbers = count()

        def take_batch() -> list[tuple[SourceImage, Prepared | DataError]]:
            batch = list(islice(remaining, size))
            return list(zip(batch, readers.map(self.prepare, batch, numbers), strict=True))

        with ThreadPoolExecutor(min(_READERS, size)) as readers, ThreadPoolExecutor(1) as taker:
            ahead = taker.submit(take_batch)
            while batch := ahead.result():
                ahead = taker.submit(take_batch)  # while the network works on this one
                yield from self._of_prepared(batch)

    def _of_batch(self, images: Sequence[SourceImage], number: int) -> list[Predicted]:
        """Return the predictions on a batch of images, the first of which has an index in the source."""
        return self._of_prepared([(image, self.prepare(image, number + i)) for i, image in enumerate(images)])

    def _of_prepared(self, batch: Sequence[tuple[SourceImage, Prepared | DataError]]) -> list[Predicted]:
        """Return the predictions on images that are prepared, or could not be read."""
        packed = [item.packed for _, item in batch if isinstance(item, Prepared)]
        samples = iter(self._run(packed) if packed else ())
        return [
            Predicted(image, item.img, next(samples))
            if isinstance(item, Prepared)
            else Predicted(image, None, self._skipped(image, str(item)))
            for image, item in batch
        ]

    def _stream_views(self, images: Iterable[SourceImage]) -> Iterator[Predicted]:
        """Yield each image with its prediction, merged from those on its views."""
        for number, image in enumerate(images):
            try:
                img = self._read(image)
                predicted = Predicted(image, img, self._predict_views(img, image, number))
            except DataError as error:  # it cannot be read, or a view would become too large
                predicted = Predicted(image, None, self._skipped(image, str(error)))
            yield predicted

    def _predict_views(self, img: np.ndarray, image: SourceImage, number: int) -> DetDataSample:
        img_id = image_id_of(image.name)

        def pack(view: np.ndarray, scale: float) -> dict:
            return self._preparations[scale](view, image.name, img_id, number)

        return self._views.predict(img, dict(img_path=image.name, img_id=img_id), pack, self._run)

    def _run(self, packed: list[dict]) -> list[DetDataSample]:
        return self.predict_batch(self.make_batch(packed))

    def _skipped(self, image: SourceImage, reason: str) -> DetDataSample:
        """Return the data sample of an image that cannot be read."""
        sample = DetDataSample(metainfo=dict(img_path=image.name, img_id=image_id_of(image.name), skipped=reason))
        if not self.classifies:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64)
            )
        return sample

    def make_batch(self, packed: Sequence[dict]) -> dict:
        """Return the batch of images that ``prepare`` packed, at least one."""
        return self._preparation.batch_of(packed)

    @torch.inference_mode()
    def predict_batch(self, batch: dict) -> list[DetDataSample]:
        """Run the network on what ``collate`` made.

        Raises:
            ConfigError: the model is in training mode.
        """
        refuse_training(self._whole)
        inputs = self.model.data_preprocessor(batch, training=False)
        autocast = nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)
        with autocast:
            return self.model(**inputs, mode='predict')

    def _read(self, image: SourceImage) -> np.ndarray:
        max_pixels = self._preparation.max_pixels
        return image.read(max_pixels) if self._decode is None else image.read_with(self._decode, max_pixels)

    def prepare(self, image: SourceImage, number: int) -> Prepared | DataError:
        """Return what the network needs of an image, or the error of one that cannot be read.

        Args:
            image: one of those that ``find_images`` returns.
            number: its index in the source, from which random draws come where the test pipeline has any.
        """
        preparation = self._preparation
        try:
            if self.options.reduced_decoding:
                decoded = image.read_reduced(preparation.divisor_of, preparation.max_pixels)
            else:
                decoded = DecodedImage.whole(self._read(image))
            packed = preparation.of_decoded(decoded, image.name, image_id_of(image.name), number)
            return Prepared(decoded.img if decoded.matrix is None else None, packed)
        except DataError as error:  # it cannot be read, or would become too large
            return error


def _without_effect(given: PredictionOptions, read: Sequence[str], classifies: bool) -> list[str]:
    """Return the options that were given to no purpose.

    Args:
        given: the options of a call.
        read: the options that the model's head reads; none where that is unknown.
        classifies: whether the model classifies whole images.
    """
    if not read:
        return []
    if given.views and not classifies:  # merging the predictions on views takes these
        read = (*read, 'iou_thr', 'class_agnostic')
    asked = {
        'iou_thr': given.iou_thr is not None,
        'class_agnostic': given.class_agnostic,
        'retina_masks': given.retina_masks is not None,
    }
    return [name for name, is_asked in asked.items() if is_asked and name not in read]


def _gpu_decoder(device: torch.device) -> Decode | None:
    """Return the decoder of JPEGs of a GPU; None, with a warning, where there is none."""
    reason = f'the model is on {device}' if device.type != 'cuda' else jpeg_decoder(device)
    if not isinstance(reason, str):
        return reason
    _warn_once(f'gpu_decoding has no effect, images are decoded on the CPU: {reason}')
    return None


@cache
def _warn_once(text: str) -> None:
    """Log a warning, the first time that it is given."""
    _log.warning(text)


def _input_size(model: nn.Module, img_size: int | None, classifies: bool) -> int:
    """Return the size that images are scaled to: the one that is asked for, or the model's."""
    fixed_size = model.input_size
    if img_size is not None:
        check_input_size(img_size, 'img_size')
    if fixed_size is None:
        return input_size(model.info.config, classifies) if img_size is None else img_size
    if img_size not in (None, *fixed_size):
        raise ConfigError(
            f'img_size is {img_size}, but the exported network takes {fixed_size[0]} x {fixed_size[1]} only: leave it '
            'out, or export with dynamic size'
        )
    return max(fixed_size)


def _with_options(model: nn.Module, options: dict[str, Any]) -> nn.Module:
    """Return a model that shares its weights with ``model`` and has prediction options of its own."""
    shared = copy.copy(model)
    shared._modules = dict(model._modules)  # copy.copy shares this dict, in which the next line sets the head
    shared.head = copy.copy(model.head)
    shared.head.test_cfg = {**model.head.test_cfg, **options}
    return shared


def _label_numbers(wanted: Sequence[str | int] | None, model: nn.Module) -> list[int] | None:
    """Return the labels of classes given by name or number."""
    if wanted is None:
        return None
    classes, numbers = model.info.classes, []
    for entry in wanted:
        if str(entry) in classes:
            numbers.append(list(classes).index(str(entry)))
        elif (label := label_of(str(entry), classes)) is not None:
            numbers.append(label)
        else:
            raise ConfigError(
                f'there is no class {entry!r} among the {len(classes)} of the model ({shorten(classes)}); give classes '
                f'by name or by number from 0 to {len(classes) - 1}.{nearest(entry, classes)}{why_fixed(model)}'
            )
    return numbers
