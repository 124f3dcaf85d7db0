"""Tracking: the objects of frame after frame become tracks with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from detkit.inference.prediction_options import PredictionOptions
from detkit.inference.predictor import Predictor
from detkit.inference.result import Result
from detkit.inference.source_image import SourceImage
from detkit.inference.sources import FoundSource, KeptFrames, images_of
from detkit.inference.trackers import build_tracker
from detkit.inference.video import Video, VideoFrame
from detkit.protocols import Tracker
from detkit.utils.errors import ComponentError, ConfigError

# Trackers also use boxes of low scores, and drop them where no track goes on with them.
LOW_SCORE = 0.1
# Images that are no frames of a video are taken for such, at this rate.
IMAGES_A_SECOND = 30.0


def with_low_scores(options: PredictionOptions) -> PredictionOptions:
    """Return options of a prediction with the score that trackers want, where no other is given."""
    return options if options.score_thr is not None else replace(options, score_thr=LOW_SCORE)


class Tracking:
    """The tracks of one video. Each video gets a new one, so that no state reaches another.

    Classes are kept apart: a box goes on only with a track of its class, each of which has a tracker of its own. With
    ``class_agnostic`` one tracker follows all, and a track may change its class.

    Args:
        tracker: see ``build_tracker``.
        frame_rate: frames a second.
        class_agnostic: see above.
    """

    def __init__(self, tracker: str | Mapping[str, Any], frame_rate: float, class_agnostic: bool = False) -> None:
        self._build: Callable[[], Tracker] = lambda: build_tracker(tracker, frame_rate)
        self._class_agnostic = class_agnostic
        self._trackers: dict[int, Tracker] = {}
        self._track_ids: dict[tuple[int, int], int] = {}
        self._shape: tuple[int, int] | None = None

    def update(self, result: Result, img: np.ndarray, seconds: float) -> Result:
        """Return the objects of the next frame that belong to a track, with ``track_ids``, which count from 1.

        Args:
            result: what was found in the frame.
            img: the frame, ``(H, W, 3)`` uint8 RGB.
            seconds: its time, later than that of the frame before.

        Raises:
            ComponentError: the tracker returns no numbers of tracks, or one number for two boxes.
        """
        bboxes, img = self._as_first(result.bboxes, img)
        groups = np.zeros_like(result.labels) if self._class_agnostic else result.labels
        track_ids = np.zeros(len(result), np.int64)
        for group in sorted({*self._trackers, *groups.tolist()}):  # also where it has no box: its tracks get older
            if group not in self._trackers:
                self._trackers[group] = self._build()
            chosen = np.flatnonzero(groups == group)
            tracker = self._trackers[group]
            numbers = tracker.update(bboxes[chosen], result.scores[chosen], img, seconds)
            _check_numbers(numbers, len(chosen), type(tracker).__name__)
            for index, number in zip(chosen.tolist(), numbers.tolist(), strict=True):
                if number >= 0:
                    track_ids[index] = self._track_ids.setdefault((group, number), len(self._track_ids) + 1)
        return replace(result, track_ids=track_ids)[track_ids > 0]

    def _as_first(self, bboxes: np.ndarray, img: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes and a frame in the size of the first frame, as a stream may change its resolution."""
        self._shape = self._shape or img.shape[:2]
        if img.shape[:2] == self._shape:
            return bboxes, img
        height, width = self._shape
        scale = np.array([width / img.shape[1], height / img.shape[0]] * 2, bboxes.dtype)
        return bboxes * scale, cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA)


def _check_numbers(numbers: Any, count: int, name: str) -> None:
    if not isinstance(numbers, np.ndarray) or numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer):
        kind = f'{numbers.dtype} {numbers.shape}' if isinstance(numbers, np.ndarray) else type(numbers).__name__
        raise ComponentError(
            f'update of the tracker {name} returned {kind} for {count} boxes, but must return an array of whole '
            f'numbers, a track for each box and -1 for a box of none',
            name,
        )
    tracks, boxes = np.unique(numbers[numbers >= 0], return_counts=True)
    if (boxes > 1).any():
        twice = tracks[boxes > 1][0]
        raise ComponentError(
            f'update of the tracker {name} gave the track {twice} to several boxes of a frame; a track has one', name
        )


class TrackedImage(NamedTuple):
    """An image or frame, its pixels ``(H, W, 3)`` uint8 RGB (None where it cannot be read), and its tracked objects."""

    image: SourceImage
    img: np.ndarray | None
    result: Result


def track_sources(
    predictor: Predictor,
    sources: Sequence[FoundSource],
    tracker: str | Mapping[str, Any] = 'bytetrack',
    kept: KeptFrames | None = None,
) -> Iterator[TrackedImage]:
    """Yield each image and frame with its tracked objects.

    Each video is tracked for itself. Images that follow each other are taken for the frames of one video.

    Args:
        predictor: finds the objects; its ``class_agnostic`` also says whether tracks keep to one class.
        sources: videos, images and iterators.
        tracker: see ``build_tracker``.
        kept: see ``images_of``.

    Raises:
        ConfigError: the model is a classifier, or there is no such tracker.
        DataError: the only source is a video that cannot be opened.
        MissingPackageError: the package ``trackers`` or PyAV is not installed.
    """
    check_trackable(predictor, tracker)
    for sequence in sequences_of(sources):
        images = images_of(sequence, len(sources) == 1, kept)
        yield from track_sequence(predictor, sequence, images, tracker)


def check_trackable(predictor: Predictor, tracker: str | Mapping[str, Any]) -> None:
    """Raise what ``track_sources`` does for the model and the tracker, before the first frame."""
    if predictor.classifies:
        raise ConfigError('a classifier finds no objects that could be tracked; use a detector')
    build_tracker(tracker, IMAGES_A_SECOND)


def sequences_of(sources: Sequence[FoundSource]) -> list[list[FoundSource]]:
    """Return what is tracked for itself: each video, and images that follow each other."""
    sequences: list[list[FoundSource]] = []
    for source in sources:
        if isinstance(source, Video) or not sequences or isinstance(sequences[-1][-1], Video):
            sequences.append([])
        sequences[-1].append(source)
    return sequences


def track_sequence(
    predictor: Predictor,
    sequence: Sequence[FoundSource],
    images: Iterable[SourceImage],
    tracker: str | Mapping[str, Any],
) -> Iterator[TrackedImage]:
    """Yield the images and frames of one video with their tracked objects; see ``track_sources``.

    Args:
        predictor, tracker: as of ``track_sources``.
        sequence: one of ``sequences_of``.
        images: its images or frames.
    """
    tracking: Tracking | None = None
    stride = sequence[0].stride if isinstance(sequence[0], Video) else 1
    for number, (image, img, sample) in enumerate(predictor.stream_images(images)):
        result = Result.of_sample(image, sample, predictor.model.info, predictor.options.score_thr)
        if not isinstance(image, VideoFrame):
            result = replace(result, frame=number, seconds=number / IMAGES_A_SECOND)
        if result.error is None:
            if tracking is None:
                rate = image.info.frame_rate / stride if isinstance(image, VideoFrame) else IMAGES_A_SECOND
                tracking = Tracking(tracker, rate, predictor.options.class_agnostic)
            img = image.read() if img is None else img  # it was decoded at a part of its size
            result = tracking.update(result, img, result.seconds)
        else:  # there was no object; a loop over tracks need not ask whether a frame is damaged
            result = replace(result, track_ids=np.zeros(0, np.int64))
        yield TrackedImage(image, img, result)
