"""``ServedModel``: a detector as a server uses it, from the file of an image to its result."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isqrt
from threading import Lock
from typing import Any

import cv2
import numpy as np

from detkit.api import Detector
from detkit.datasets.image_files import read_image_header
from detkit.inference import PredictionOptions, Predictor, Result, SourceImage
from detkit.serving.problems import RequestProblem
from detkit.serving.settings import ServeSettings
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError, DetkitError, shorten

_log = logging.getLogger(__name__)
# Predictors that are kept for requests with the same options.
_MAX_PREDICTORS = 32
_TASKS_WITH_MASKS = ('seg', 'panoptic')


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network takes it.

    Attributes:
        name: what the client calls it.
        packed: the sample as ``collate`` takes it.
        weight: the share of the memory for masks that its masks may take at most.
        img: the decoded image ``(H, W, 3)`` uint8 RGB; None where it is not needed any more.
    """

    name: str
    packed: dict
    weight: float
    img: np.ndarray | None


class ServedModel:
    """A detector, or classifier, for many threads and many kinds of options.

    Args:
        detector: the model.
        settings: the limits of images.
        amp: mixed precision, as of ``PredictionOptions``.
    """

    def __init__(self, detector: Detector, settings: ServeSettings, amp: bool | str = False) -> None:
        self.detector = detector
        self._settings, self._amp = settings, amp
        self._predictors: OrderedDict[Hashable, Predictor] = OrderedDict()
        self._lock = Lock()

    def predictor(self, options: PredictionOptions) -> Predictor:
        """Return the predictor for some options; it shares the network with all others.

        Raises:
            RequestProblem: an option has a value that this model does not take, such as an unknown class.
        """
        with self._lock:
            found = self._predictors.get(options)
            if found is None:
                try:
                    found = Predictor(model=self.detector.model_for(self._amp), **{**vars(options), 'amp': self._amp})
                except ConfigError as error:
                    raise RequestProblem(422, str(error)) from error
                except DetkitError as error:  # of the text encoder; it may name files of this machine
                    _log.warning('classes of a request cannot be embedded: %s', error)
                    raise RequestProblem(
                        422,
                        'this server cannot look for classes that its model does not have already; its classes are '
                        f'{shorten(self.detector.classes)}',
                    ) from error
                self._predictors[options] = found
                if len(self._predictors) > _MAX_PREDICTORS:
                    self._predictors.popitem(last=False)
            self._predictors.move_to_end(options)
        return found

    def prepare(self, name: str, data: bytes, options: PredictionOptions, keep_image: bool) -> PreparedImage:
        """Decode an image, and make the network's input of it.

        Raises:
            DataError: it cannot be read; the text is a sentence that names it.
        """
        most = self._settings.max_pixels
        try:
            height, width, _ = read_image_header(data)
        except OSError:
            pass  # the reader of images says what is wrong
        else:
            if height * width > most:
                raise DataError(
                    f'{name} has {width}x{height} pixels, but this server takes images of {most:,} pixels at most'
                )
        img = SourceImage(name, data).read(most)
        weight = self._weight(name, img, options)
        prepared = self.predictor(options).prepare(SourceImage(name, img), 0)
        if isinstance(prepared, DataError):
            raise prepared
        return PreparedImage(name, prepared.packed, weight, prepared.img if keep_image else None)

    def _weight(self, name: str, img: np.ndarray, options: PredictionOptions) -> float:
        """Return the share of the memory for masks that an image may take; one that may take more is refused."""
        if self.detector.task not in _TASKS_WITH_MASKS:
            return 0.0
        pixels, most = img.shape[0] * img.shape[1], self._settings.max_mask_pixels
        count = self.predictor(options).options.max_per_img
        if pixels * count > most:
            raise DataError(
                f'{name} has {img.shape[1]}x{img.shape[0]} pixels, of which {count} masks take more memory than this '
                f'server has for them; ask for {most // pixels} objects at most: ?max_per_img={most // pixels}'
            )
        return pixels * count / most

    def key(self, options: PredictionOptions, image: PreparedImage) -> Hashable:
        """Return what two images must have in common to share a batch: options, and a size that needs no padding.

        So a result depends on nobody else's image.
        """
        return options, tuple(image.packed['inputs'].shape)

    def run(self, key: Any, images: Sequence[PreparedImage]) -> list[DetDataSample]:
        """Predict on images of one key."""
        predictor = self.predictor(key[0])
        return predictor.predict_batch(predictor.make_batch([image.packed for image in images]))

    def result(self, options: PredictionOptions, image: PreparedImage, sample: DetDataSample) -> Result:
        """Return the result of an image from what the network predicted."""
        predictor = self.predictor(options)
        source = SourceImage(image.name, image.img)
        return Result.of_sample(source, sample, predictor.model.info, predictor.options.score_thr, predictor.listed)

    def unread(self, name: str, error: str) -> Result:
        """Return the result of an image that could not be read."""
        sample = DetDataSample(metainfo={'skipped': error})
        return Result.of_sample(SourceImage(name), sample, self.detector.model.info)

    def warm_up(self, batch_size: int) -> None:
        """Predict on a grey image, alone and in a full batch, so that the first request finds all in its place."""
        options = PredictionOptions(max_per_img=1)  # within any limit on masks
        size = min(self.predictor(options).img_size, isqrt(self._settings.max_pixels))
        img = np.full((size, size, 3), 114, np.uint8)
        data = cv2.imencode('.png', img)[1].tobytes()
        image = self.prepare('warm-up', data, options, keep_image=True)
        for count in sorted({1, batch_size}):
            for sample in self.run(self.key(options, image), [image] * count):
                self.result(options, image, sample).to_dict()
