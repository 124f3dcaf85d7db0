"""The Hub's ``preprocessor_config.json``, which says how a model's images are resized and normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detkit.converters.common import variables_of
from detkit.converters.hub_config import positive_or_none, read_beside

_FILE = 'preprocessor_config.json'
_BILINEAR = 2  # Pillow's number of the way to resample that ``Render`` has


def input_options(path: Path, file: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what makes a config give images the input that ``preprocessor_config.json`` beside the weights describes.

    Args:
        path: the weights.
        file: the config of the model.
        options: ``--cfg-options`` that choose the model.

    Returns:
        Further options, none where the config has that input; and lines for people on what no option gives.

    Raises:
        CheckpointError: ``preprocessor_config.json`` is damaged.
    """
    said = read_beside(path, _FILE, _checked)
    if not said:
        return {}, []
    values = variables_of(file, options)
    resizing, other = _resizing(said, values), []
    if resizing is None:
        resizing, other = {}, ['do_resize', 'size', 'do_pad', 'pad_size']
    if said.get('resample', _BILINEAR) != _BILINEAR:
        other.append('resample')
    shown = ', '.join(f'{name} {said[name]}' for name in other if said.get(name) is not None)
    note = f'note     {_FILE} changes images as no option of the config does, so that results differ: {shown}'
    return resizing | _normalization(said, values), [note] if other else []


def _checked(said: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` or ``ValueError`` for numbers that are none."""
    for name in ('image_mean', 'image_std'):
        numbers = said.get(name)
        if numbers is not None and not (
            isinstance(numbers, list) and len(numbers) == 3 and all(isinstance(each, int | float) for each in numbers)
        ):
            raise TypeError(f'{name} holds no three numbers')
    if min(said.get('image_std') or [1]) <= 0 or not float(said.get('rescale_factor') or 1) > 0:
        raise ValueError('image_std and rescale_factor must be above 0')


def _resizing(said: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options that resize as is said, none where the config does so, and None where no options do.

    Args:
        said: the content of ``preprocessor_config.json``.
        values: the config's variables.
    """
    size = said.get('size')
    if size is None and said.get('do_resize') is not False:
        return {}
    if not isinstance(size, Mapping):  # of releases before 4.26
        size = {'shortest_edge': size, 'longest_edge': said.get('max_size')}
    sides = {name: positive_or_none(side) or 0 for name, side in size.items() if side is not None}
    wanted: dict[str, Any] = {}
    if sides.keys() == {'height', 'width'} and sides['height'] == sides['width'] > 0:
        wanted = dict(keep_ratio=False, img_size=sides['height'])
    elif sides.keys() == {'shortest_edge', 'longest_edge'} and 0 < sides['shortest_edge'] <= sides['longest_edge']:
        wanted = dict(keep_ratio=True, img_size=sides['shortest_edge'], max_size=sides['longest_edge'])
    is_padded = said.get('do_pad') and said.get('pad_size') is not None
    if said.get('do_resize') is False or is_padded or not wanted or not wanted.keys() <= values.keys():
        return None
    differs = {name for name, value in wanted.items() if value != values[name]}
    return {name: value for name, value in wanted.items() if name in differs or (differs and name != 'keep_ratio')}


def _normalization(said: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that normalise as is said, none where the config does so; arguments as of ``_resizing``."""
    if 'do_normalize' not in said:
        return {}
    factor = 1.0 if said.get('do_rescale') is False else float(said.get('rescale_factor') or 1 / 255)
    mean, std = (said.get('image_mean'), said.get('image_std')) if said['do_normalize'] else (None, None)
    configured = (values.get('model') or {}).get('data_preprocessor') or {}
    options: dict[str, Any] = {}
    for name, numbers, default in (('mean', mean or (0.0,) * 3, 0.0), ('std', std or (1.0,) * 3, 255.0)):
        wanted = tuple(round(number / factor, 6) for number in numbers)
        has = configured.get(name, (default,) * 3)
        if len(has) != 3 or not all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(has, wanted, strict=True)):
            options[f'{"" if name in configured else "+"}model.data_preprocessor.{name}'] = wanted
    return options
