"""Prediction into a folder (``detkit predict``): pictures, label files, tables and crops, written as they are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from detkit.inference.background import in_background
from detkit.inference.drawn_output import DrawnOutput, check_sources_spared, ends_camera, make_folder
from detkit.inference.folder_outputs import FolderOutputs
from detkit.inference.predictor import Predictor
from detkit.inference.reduced_result import reduced
from detkit.inference.result import Result
from detkit.inference.result_files import parquet_table, save_crops, save_yolo
from detkit.inference.sources import Source, find_sources, images_of
from detkit.utils.errors import ConfigError
from detkit.utils.numbers import count_text
from detkit.utils.pictures import UniqueNames
from detkit.utils.printable import printable
from detkit.utils.streams import AddRows, csv_table, json_list

_DEFAULT = FolderOutputs()
_FRAMES_A_LINE = 100  # of a video
# The longest side of a picture. What was found in a larger image is drawn on a smaller copy: drawing takes several
# times the memory of the image, and few programs show more.
_LONGEST_SIDE = 8192


class Prepared(NamedTuple):
    """What the files of a result hold, as far as that depends on it alone.

    Attributes:
        entries: those of the json.
        picture: see ``DrawnOutput.encode``; None where there is to be none.
    """

    entries: list[dict[str, Any]]
    picture: np.ndarray | bytes | None


class ResultFolder:
    """A folder that results are written to one by one, so that memory does not grow with their number.

        with ResultFolder('predictions', FolderOutputs(save_csv=True)) as folder:
            for result in model('photos/', stream=True):
                folder.add(result)

    Files of an image have its stem as their name; of images in several folders that share a stem, the later ones get
    '-2', '-3' and so on. Files of a video's frames lie in a folder of that name. Tables and json appear, whole, when
    the block ends.

    Args:
        path: the folder; made if it is missing.
        outputs: what to write.
        draw: returns the picture of a result and its image; ``Result.plot`` by default.

    Attributes:
        num_objects: objects so far; of a classifier, classified images.

    Raises:
        MissingPackageError: the package pyarrow is missing, and a Parquet file is asked for.
        OSError: the folder cannot be written to.
    """

    def __init__(
        self,
        path: str | Path,
        outputs: FolderOutputs = _DEFAULT,
        draw: Callable[[Result, np.ndarray | None], np.ndarray] = Result.plot,
    ) -> None:
        self.path = Path(path)
        self.outputs = outputs
        self.num_objects = 0
        self._draw = draw
        self._names, self._video_names = UniqueNames(), UniqueNames()
        self._stack = ExitStack()
        self._tables: list[AddRows] = []
        self._has_columns = False
        self._last: Result | None = None
        self._video = ''  # the stem of the video that the last result is of

    def __enter__(self) -> ResultFolder:
        make_folder(self.path)
        with ExitStack() as stack:
            self._json = (
                stack.enter_context(json_list(self.path / 'predictions.json')) if self.outputs.save_json else None
            )
            for wanted, table, name in (
                (self.outputs.save_csv, csv_table, 'predictions.csv'),
                (self.outputs.save_parquet, parquet_table, 'predictions.parquet'),
            ):
                if wanted:
                    self._tables.append(stack.enter_context(table(self.path / name)))
            self._drawn = stack.enter_context(DrawnOutput(self.path))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and self._last is not None and not self._has_columns:  # no image could be read
            self._add_rows(self._last)
        if self._last is not None and ends_camera(error, self._last.source):
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, traceback)

    def add(self, result: Result, img: np.ndarray | None = None) -> str | None:
        """Write what is asked for of a result.

        Args:
            result: the result; of an image that could not be read, nothing is written.
            img: the image, ``(H, W, 3)`` uint8 RGB, where it is decoded already.

        Returns:
            The stem of its files where it is not that of the image, as another image had it; else None.
        """
        return self.write(result, img, self.prepare(result, img))

    def prepare(self, result: Result, img: np.ndarray | None = None) -> Prepared:
        """Return what ``write`` takes; it may be called in several threads, for results in any order."""
        if result.error is not None:
            return Prepared([], None)
        picture = None
        if self.outputs.pictures:
            drawn, pixels = result, img
            if max(result.img_shape) > _LONGEST_SIDE and result.frame is None:
                drawn, pixels = reduced(result, result.img if img is None else img, _LONGEST_SIDE)
            picture = self._drawn.encode(result.source, self._draw(drawn, pixels))
        return Prepared(result.to_coco() if self.outputs.save_json else [], picture)

    def write(self, result: Result, img: np.ndarray | None, prepared: Prepared) -> str | None:
        """Write what ``prepare`` returned; arguments and what is returned are those of ``add``."""
        before, self._last = self._last, result
        if result.error is not None:
            return None
        own = Path(result.img_path).stem
        if result.frame is None:
            name = stem = self._names.name(own)
        else:
            goes_on = before is not None and before.img_path == result.img_path and (before.frame or 0) < result.frame
            name = self._video = self._video if goes_on and self._video else self._video_names.name(own or 'video')
            stem = f'{name}/{result.frame:06d}'
        self.num_objects += len(result) if result.probs is None else min(len(result), 1)
        if self._json is not None:
            self._json(prepared.entries)
        self._add_rows(result)
        if self.outputs.save_txt:
            save_yolo(result, self.path / 'labels' / f'{stem}.txt', self.outputs.save_scores)
        if self.outputs.save_crops and result.bboxes is not None:
            save_crops(result, self.path / 'crops', stem, img=img)
        if prepared.picture is not None:
            self._drawn.write(result.source, prepared.picture, name)
        return None if name == own else name

    def _add_rows(self, result: Result) -> None:
        self._has_columns = True
        for add in self._tables:
            add(result.rows(), result.columns)


def predict_to_folder(
    predictor: Predictor,
    source: Source,
    out_dir: str | Path,
    outputs: FolderOutputs = _DEFAULT,
    drawing: Mapping[str, Any] | None = None,
) -> int:
    """Predict on all images of ``source``, saying on the console what was found in each.

    Args:
        predictor: the predictor, which holds all settings.
        source: see ``find_sources``; a video becomes one mp4 file.
        out_dir: the folder for the files; made if it is missing.
        outputs: which files to write.
        drawing: options of the pictures, see ``Result.plot``.

    Returns:
        The number of images predicted on.

    Raises:
        DataError: ``source`` names no image.
        ConfigError: crops are asked for from a classifier, or images lie in ``out_dir``, where pictures would be
            written over them.
    """
    sources = find_sources(source)
    if outputs.save_crops and predictor.classifies:
        raise ConfigError('save_crops cuts out boxes, but a classifier finds none; leave it out')
    if outputs.pictures:
        check_sources_spared(sources, Path(out_dir))
    if predictor.model.info.licence:
        print(printable(f'licence of the weights: {predictor.model.info.licence}'))
    skipped: list[str] = []
    count, num_frames, start = 0, 0, time.perf_counter()

    def results() -> Iterator[tuple[Result, np.ndarray | None]]:
        for image, img, sample in predictor.stream_images(images_of(sources)):
            result = Result.of_sample(
                image, sample, predictor.model.info, predictor.options.score_thr, predictor.listed
            )
            if result.instance_masks is not None and predictor.device.type == 'cpu':
                result.instance_masks.crops  # noqa: B018 by the threads of the network: others would compete with them
            yield result, img

    with (
        ResultFolder(out_dir, outputs, lambda result, img: result.plot(img, **(drawing or {}))) as folder,
        closing(results()) as predicted,
        closing(
            in_background(
                predicted, lambda item: folder.prepare(*item), lambda item, made: folder.write(*item, made), _size_of
            )
        ) as written,
    ):
        for (result, _), renamed in written:
            if result.error is not None:
                skipped.append(result.error)
                continue
            count += 1
            num_frames += result.frame is not None
            note = f' (files: {renamed})' if renamed else ''
            if result.frame is None or result.frame % _FRAMES_A_LINE == 0:
                print(printable(f'{result.title}: {result.summary}{note}'))
    seconds = time.perf_counter() - start
    for reason in skipped:
        print(printable(f'skipped: {reason}'))
    unread = f', {len(skipped)} could not be read' if skipped else ''
    found = '' if predictor.classifies else f', {count_text(folder.num_objects, "object")}'
    what = 'frame' if 0 < num_frames == count else 'image'
    speed = f'{1000 * seconds / max(count, 1):.0f} ms {"a" if what == "frame" else "an"} {what}'
    print(f'{count_text(count, what)}{unread}{found}, {speed}; results in {out_dir}')
    return count


def _size_of(item: tuple[Result, np.ndarray | None]) -> int:
    """Return about how many bytes a result, its image and its picture take."""
    result, _ = item
    if result.img_shape is None:
        return 0
    masks = 0 if result.instance_masks is None else (result.bboxes[:, 2:] - result.bboxes[:, :2]).prod(1).sum()
    return 6 * math.prod(result.img_shape) + int(masks)
