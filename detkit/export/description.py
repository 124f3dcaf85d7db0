"""``Description``: what an exported file says about itself, as JSON that is read without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from detkit import __version__
from detkit.config import literal_text
from detkit.engine.checkpoint_content import MAX_CONFIG, is_keypoints
from detkit.export.plan import Plan, Suppression
from detkit.export.settings import INPUT_TYPES, INPUTS, MAX_INPUT
from detkit.export.suppression import ROWS
from detkit.models.detectors import ModelInfo
from detkit.utils.errors import CheckpointError, DataError
from detkit.utils.json_files import parse_json

KIND = 'detkit export'
VERSION = 1
MAX_DESCRIPTION = 2 * MAX_CONFIG
_LARGEST, _LARGEST_DIVISOR = 1 << 16, 1 << 10


@dataclass(frozen=True)
class Description:
    """The description in an exported file.

    Attributes:
        format: the name of its format.
        classes: the class names, by label.
        task: the config's: 'det', 'seg', 'pose', 'obb' or 'cls'.
        keypoints: see ``ModelInfo``.
        config: the text of the config, see ``literal_text``.
        licence: the licence of the weights, where that is known.
        input_type: type of the images' values from 0 to 255: 'uint8' or 'float32'.
        batch_size: images at a time; None for any number.
        size: (h, w) of the input; None for any multiples of ``divisor``.
        divisor: sides of the input are multiples of it.
        inputs, outputs: the names of the tensors.
        half, int8: whether it is in half precision, in int8.
        suppression: what the graph suppresses with; None for a plain head.
        preprocessing: what is done to a picture before it enters, for people.
        checkpoint: SHA-256 of the checkpoint that it was made from; empty where there was none.
        difference: the greatest differences from PyTorch that the check found; empty before it.
        detkit_version: the version that wrote it.
    """

    format: str
    classes: tuple[str, ...]
    task: str
    keypoints: Mapping[str, Any]
    config: str
    licence: str
    input_type: str
    batch_size: int | None
    size: tuple[int, int] | None
    divisor: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    half: bool
    int8: bool
    suppression: Suppression | None
    preprocessing: str
    checkpoint: str
    difference: Mapping[str, float] = field(default_factory=dict)
    detkit_version: str = __version__

    def with_difference(self, difference: Mapping[str, float]) -> Description:
        """Return the description with what the check found."""
        return replace(self, difference=dict(difference))

    def text(self) -> str:
        """Return the JSON."""
        return json.dumps({'kind': KIND, 'version': VERSION, **asdict(self)}, ensure_ascii=True)


def describe(
    info: ModelInfo, plan: Plan, inputs: tuple[str, ...], outputs: tuple[str, ...], checkpoint: str, preprocessing: str
) -> Description:
    """Return the description of a file that is being made."""
    return Description(
        format=plan.format.name,
        classes=tuple(info.classes),
        task=info.config.get('task') or 'det',
        keypoints=json.loads(json.dumps(dict(info.keypoints))),
        config=literal_text(info.config),
        licence=info.licence,
        input_type=plan.input_type,
        batch_size=None if 'batch' in plan.dynamic else plan.batch_size,
        size=None if 'size' in plan.dynamic else plan.size,
        divisor=plan.divisor,
        inputs=inputs,
        outputs=outputs,
        half=plan.half,
        int8=plan.int8,
        suppression=plan.suppression,
        preprocessing=preprocessing,
        checkpoint=checkpoint,
    )


def parse_description(text: str | None, path: Path) -> Description:
    """Return the description that a file holds.

    Raises:
        CheckpointError: there is none, or it is damaged, or a newer detkit wrote it.
    """
    if not text:
        raise CheckpointError(
            f'{path} was not exported by detkit: it holds no description of its classes and of its input. Export a '
            'checkpoint by detkit export'
        )
    if len(text) > MAX_DESCRIPTION:
        raise _damaged(path, f'it has {len(text):,} characters, more than {MAX_DESCRIPTION:,}')
    try:
        values = parse_json(text, f'the description in {path}')
    except DataError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(values, dict) or values.get('kind') != KIND or type(values.get('version')) is not int:
        raise _damaged(path, f'it is not of the kind {KIND!r}')
    if values['version'] > VERSION:
        raise CheckpointError(
            f'{path} has the export format {values["version"]}, this detkit reads up to {VERSION}: update detkit.'
        )
    if values['version'] < 1:
        raise _damaged(path, f'its version is {values["version"]}')
    wanted = {item.name for item in fields(Description)}
    missing = sorted(wanted - values.keys())
    if missing:
        raise _damaged(path, f'it has no {missing[0]!r}')
    for name, (is_good, expected) in _CHECKS.items():
        if not is_good(values[name]):
            raise _damaged(path, f'{name!r} is {str(values[name])[:60]!r}, where {expected} is expected')
    suppression = values['suppression']
    lacking = [] if suppression is None else [name for name in ROWS if name not in values['outputs']]
    if lacking:
        raise _damaged(path, f'it has a suppression, but no output {lacking[0]!r}')
    if values['size'] is not None and values['size'][0] * values['size'][1] * (values['batch_size'] or 1) > MAX_INPUT:
        raise _damaged(path, f'its input has more than {MAX_INPUT:,} pixels')
    return Description(
        **{name: values[name] for name in wanted - {'classes', 'size', 'inputs', 'outputs', 'suppression'}},
        classes=tuple(values['classes']),
        size=None if values['size'] is None else tuple(values['size']),
        inputs=tuple(values['inputs']),
        outputs=tuple(values['outputs']),
        suppression=None if suppression is None else Suppression(**suppression),
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'the description in {path} cannot be read ({reason}). The file is damaged or forged: export the checkpoint '
        'again'
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _LARGEST


def _is_suppression(value: Any) -> bool:
    if value is None:
        return True
    names = {item.name for item in fields(Suppression)}
    return (
        isinstance(value, dict)
        and value.keys() == names
        and all(type(value[name]) in (int, float) and 0 <= value[name] <= 1 for name in ('score_thr', 'iou_thr'))
        and _is_count(value['max_per_img'])
        and type(value['class_agnostic']) is bool
    )


_TEXT: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, str), 'a text')
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'format': _TEXT,
    'classes': (_is_texts, 'a list of names'),
    'task': _TEXT,
    'keypoints': (is_keypoints, 'a mapping with the names, pairs, skeleton and sigmas of keypoints'),
    'config': (lambda value: isinstance(value, str) and len(value) <= MAX_CONFIG, 'a text'),
    'licence': _TEXT,
    'input_type': (lambda value: value in INPUT_TYPES, ' or '.join(INPUT_TYPES)),
    'batch_size': (lambda value: value is None or _is_count(value), 'a whole number or null'),
    'size': (
        lambda value: value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))),
        'a height and a width or null',
    ),
    'divisor': (lambda value: _is_count(value) and value <= _LARGEST_DIVISOR, 'a whole number'),
    'inputs': (lambda value: value in (list(INPUTS), list(INPUTS[:1])), ' and '.join(INPUTS)),
    'outputs': (lambda value: _is_texts(value) and 0 < len(value) <= 16, 'a list of names'),
    'half': (lambda value: type(value) is bool, 'true or false'),
    'int8': (lambda value: type(value) is bool, 'true or false'),
    'suppression': (_is_suppression, 'thresholds or null'),
    'preprocessing': _TEXT,
    'checkpoint': _TEXT,
    'difference': (
        lambda value: isinstance(value, dict) and all(type(number) in (int, float) for number in value.values()),
        'numbers by name',
    ),
    'detkit_version': _TEXT,
}
