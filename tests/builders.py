"""Builders of what tests need: models of the base configs, datasets of records, pictures that were written."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import ConfigDict

from detkit.config import load_config
from detkit.datasets.skips import Skip
from detkit.registry import DETECTORS
from detkit.structures.annotations import Record
from detkit.utils.without_memory import without_memory

CONFIGS = Path(__file__).parents[1] / 'configs'


def model_config(name: str, num_classes: int | None = None, **variables: Any) -> ConfigDict:
    """Return the model of the base config ``name``, such as 'yolov8_det'.

    Args:
        variables: replace the base's top-level variables: ``size='m'``.
    """
    config = load_config(CONFIGS / '_base_' / 'models' / f'{name}.py', variables, need_classes=False).model
    if num_classes is not None:
        config.head.num_classes = num_classes
    return config


def build_model(name: str, num_classes: int | None = 80, device: str = 'cpu', **variables: Any) -> torch.nn.Module:
    """Build the model of a base config, see ``model_config``; on 'meta' only names and shapes count."""
    with without_memory() if device == 'meta' else torch.device(device):
        return DETECTORS.build(model_config(name, num_classes, **variables))


def read_pictures(folder: Path) -> dict[str, np.ndarray]:
    """Read the pictures in a folder by name; none of them may be damaged or blank."""
    pictures = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in ('.jpg', '.png')):
        pictures[path.name] = cv2.imread(str(path))
        assert pictures[path.name] is not None, f'{path} is no picture'
        assert pictures[path.name].std() > 5, f'{path} is blank'
    return pictures


class RecordSet:
    """A dataset that has records and makes no samples."""

    def __init__(self, records: list[Record], classes: tuple[str, ...]) -> None:
        self.records = records
        self.metainfo = {'classes': classes}
        self.skipped: list[Skip] = []
        self.unused: list[Skip] = []
        self.max_skipped = 0.01

    def __len__(self) -> int:
        return len(self.records)
