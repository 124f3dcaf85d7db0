"""Prediction into a folder (``detkit predict``): a picture for each image and one json."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detkit.inference.drawn_output import DrawnOutput
from detkit.inference.predictor import Predictor
from detkit.inference.result import Result
from detkit.inference.sources import Source, find_sources, images_of
from detkit.utils.printable import printable
from detkit.utils.tables import write_json

_FRAMES_A_LINE = 100  # of a video


def predict_to_folder(
    predictor: Predictor,
    source: Source,
    out_dir: str | Path,
    pictures: bool = True,
    json_name: str | None = 'predictions.json',
    drawing: Mapping[str, Any] | None = None,
) -> int:
    """Predict on all images of ``source``, saying on the console what was found in each.

    Args:
        predictor: the predictor, which holds all settings.
        source: see ``find_sources``; a video becomes one mp4 file.
        out_dir: the folder for the pictures and the json; made if it is missing.
        pictures: whether to draw pictures.
        json_name: file in ``out_dir``: a list of entries as in COCO's results files, with ``file_name`` and
            ``category_name`` besides (``category_id`` counts from 0, as labels do); from a classifier one entry an
            image with its five most probable classes in ``top5``; of rotated boxes also ``rbbox`` and ``corners``; of a
            head that divides the whole image one entry a segment; None writes none.
        drawing: options of the pictures, see ``Result.plot``.

    Returns:
        The number of images predicted on.

    Raises:
        DataError: ``source`` names no image.
    """
    sources = find_sources(source)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    entries: list[dict] = []
    skipped: list[str] = []
    if predictor.model.info.licence:
        print(printable(f'licence of the weights: {predictor.model.info.licence}'))
    count, start = 0, time.perf_counter()
    with DrawnOutput(out_dir) as drawn:
        for image, img, sample in predictor.stream_images(images_of(sources)):
            result = Result.of_sample(
                image, sample, predictor.model.info, predictor.options.score_thr, predictor.listed
            )
            if result.error is not None:
                skipped.append(result.error)
                continue
            count += 1
            entries += result.to_coco()
            if pictures:
                drawn.write(image, result.plot(img, **(drawing or {})))
            if result.frame is None:
                print(printable(f'{result.img_path}: {result.summary}'))
            elif result.frame % _FRAMES_A_LINE == 0:
                print(printable(f'{result.title}: {result.summary}'))
    seconds = time.perf_counter() - start
    for reason in skipped:
        print(printable(f'skipped: {reason}'))
    if json_name:
        write_json(out_dir / json_name, entries)
    unread = f', {len(skipped)} could not be read' if skipped else ''
    found = '' if predictor.classifies else f', {len(entries)} objects'
    print(f'{count} images{unread}{found}, {1000 * seconds / max(count, 1):.0f} ms an image; results in {out_dir}')
    return count
