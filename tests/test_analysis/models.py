"""Evaluated models without a network: results as metrics keep them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from test_analysis.results import CLASSES, random_results

from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.structures.data_sample import DetDataSample


def model(
    label: str,
    results: Sequence[Any],
    kinds: tuple[str, ...] = ('bbox',),
    classes: tuple[str, ...] = CLASSES,
    config: dict | None = None,
    **metric: Any,
) -> EvaluatedModel:
    return EvaluatedModel(
        label,
        Config(config or {}),
        f'{label}.pth',
        classes,
        list(results),
        SimpleNamespace(**{'needs': kinds, 'max_dets': (), **metric}),
        {},
        {},
    )


def answers(right: Sequence[bool], classes: int = 3) -> list[DetDataSample]:
    """A classifier's: images of all classes in turn; a wrong answer is the next class."""
    results = []
    for i, hit in enumerate(right):
        label = i % classes
        order = (np.arange(classes) + label + (not hit)) % classes
        sample = DetDataSample(metainfo=dict(img_path=f'{i}.jpg', img_id=str(i)))
        sample.gt_label, sample.pred_scores = label, np.zeros(classes)
        sample.pred_scores[order] = np.linspace(0.9, 0.1, classes)
        results.append(sample)
    return results


def with_pictures(results: Sequence[Any], folder: Path) -> list[Any]:
    """The same results, of pictures that are there: grey, objects bright."""
    for result in results:
        img = np.full((300, 300, 3), 120, np.uint8)
        bboxes = result.gt_instances.bboxes if 'gt_instances' in result else np.zeros((0, 4))
        for x0, y0, x1, y1 in np.round(bboxes).astype(int):
            img[max(y0, 0) : y1, max(x0, 0) : x1] = 220
        result.set_metainfo(dict(img_path=str(folder / f'{result.img_id}.png')))
        cv2.imwrite(result.img_path, img)
    return list(results)


def better_and_worse(num_images: int = 40) -> tuple[EvaluatedModel, EvaluatedModel]:
    """The second finds objects less exactly; the objects are the same."""
    return (
        model('exact', random_results(num_images, noise=1.5)),
        model('vague', random_results(num_images, noise=9.0)),
    )
