"""The order of transforms is checked when a config is loaded."""

import pytest

from detkit.config import load_config
from detkit.datasets.transforms import RandomAffine
from detkit.registry import TRANSFORMS
from detkit.utils.errors import ConfigError

LOAD, FLIP, RENDER = (dict(type=name) for name in ('LoadImageFromFile', 'RandomFlip', 'Render'))
TURN, CROP = dict(type='RandomAffine', degrees=5), dict(type='RandomCrop', min_size=64, max_size=96)
COLOR, PACK, OWN = dict(type='ColorJitter'), dict(type='PackInputs'), dict(type='OwnStep')


@TRANSFORMS.register_module()
class OwnStep:
    """A user's transform, which states no stage."""

    def __call__(self, results: dict) -> dict:
        return results


@TRANSFORMS.register_module()
class OwnAffine(RandomAffine):
    """A user's own form of a transform, which names none of its arguments."""

    def __init__(self, **options) -> None:
        super().__init__(**options)


@pytest.mark.default_cases(6)
@pytest.mark.parametrize(
    'pipeline, index, sentence',
    [
        (
            [LOAD, RENDER, FLIP, PACK],
            2,
            'RandomFlip changes where .* before Render draws .* comes behind',
        ),
        ([LOAD, COLOR, RENDER, PACK], 2, 'Render draws what .* behind ColorJitter; put it in front'),
        ([FLIP, LOAD, RENDER, PACK], 1, 'LoadImageFromFile reads the image, so it is the first'),
        ([LOAD, RENDER, PACK, COLOR], 3, 'ColorJitter changes the pixels .* behind PackInputs'),
        ([LOAD, RENDER, RENDER, PACK], 2, 'two transforms that do this: Render and Render; drop one'),
        ([LOAD, FLIP, PACK], None, r"no transform draws the image; add dict\(type='Render'\) behind the transforms of"),
        ([LOAD, FLIP, RENDER], None, r"no transform makes the input .* add dict\(type='PackInputs'\) at the end"),
        ([RENDER, PACK], None, r"no transform reads the image; add dict\(type='LoadImageFromFile'\) at the beginning"),
        ([], None, 'no transform reads the image'),
        (
            [LOAD, RENDER, dict(type='RandomChoice', transforms=[[], [FLIP]]), PACK],
            2,
            'RandomChoice changes where things are',
        ),
        ([LOAD, OWN, RENDER, FLIP, PACK], 3, 'RandomFlip changes where'),
        (
            [LOAD, TURN, dict(type='RandomChoice', transforms=[[CROP], []]), RENDER, PACK],
            2,
            'RandomCrop cuts the sample, .*; put RandomCrop in front of RandomAffine',
        ),
    ],
)
@pytest.mark.parametrize('pipeline_key, key', [
    ('train_pipeline', 'train_dataloader.dataset.dataset.pipeline'),
    ('val_pipeline', 'val_dataloader.dataset.pipeline'),
])  # fmt: skip
def test_a_wrong_order(pipeline, index, sentence, pipeline_key, key):
    where = f'{key}: ' if index is None else f'{key}.{index}: '
    with pytest.raises(ConfigError, match=f'{where}.*{sentence}'):
        load_config('configs/yolov8/det_n_coco8.py', {pipeline_key: pipeline})


@pytest.mark.parametrize(
    'pipeline',
    [
        [LOAD, FLIP, RENDER, COLOR, PACK],
        [LOAD, OWN, RENDER, OWN, PACK],
        [OWN, FLIP, OWN, PACK],  # a user's transform may read and draw
        [LOAD, dict(type='RandomChoice', transforms=[[FLIP], []]), RENDER, PACK],
        [LOAD, RENDER, dict(type='RandomChoice', transforms=[[], [COLOR]]), PACK],
        [LOAD, dict(type='RandomAffine'), dict(type='RandomChoice', transforms=[[TURN], [CROP]]), RENDER, PACK],
        [LOAD, dict(type='OwnAffine'), CROP, RENDER, PACK],
    ],
)
def test_a_right_order(pipeline):
    load_config('configs/yolov8/det_n_coco8.py', {'train_pipeline': pipeline})
