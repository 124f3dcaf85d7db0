"""Scenes of the drawn sample dataset, which the tests of one process draw once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from detkit.sample_data.coco8 import render_scenes
from detkit.sample_data.rendering import RenderedScene

_NO_COVERAGE = np.zeros((0, 0), np.float32)  # which is not written to files, and takes most of a scene's memory
_drawn: dict[tuple[str, int], tuple[list[RenderedScene], Iterator[RenderedScene]]] = {}


def drawn_scenes(split: str, count: int, seed: int = 0) -> Iterator[RenderedScene]:
    """Yield what ``render_scenes`` does, for which a scene takes half a second."""
    known, others = _drawn.setdefault((split, seed), ([], render_scenes(split, 100, seed)))
    for index in range(count):
        if index == len(known):
            scene = next(others)
            known.append(replace(scene, objects=[replace(each, coverage=_NO_COVERAGE) for each in scene.objects]))
        yield known[index]
