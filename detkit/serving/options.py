"""Options of a request: those prediction options that a client may choose, read from the query of its address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, replace
from typing import Any

from detkit.config.keys import WORDS
from detkit.inference.prediction_options import PredictionOptions
from detkit.serving.problems import RequestProblem
from detkit.serving.settings import ServeSettings
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.printable import printable

# The others (batch_size, amp, ...) are the server's own.
REQUEST_OPTIONS = ('score_thr', 'iou_thr', 'classes', 'max_per_img', 'class_agnostic', 'retina_masks', 'img_size')
_FIELDS = {each.name: each for each in fields(PredictionOptions) if each.name in REQUEST_OPTIONS}
_MAX_CLASSES = 1000
_PLAIN = re.compile(r'[A-Za-z0-9.+-]{1,40}')
_FLAGS = {'true': True, '1': True, 'false': False, '0': False}


def parse_options(query: Sequence[tuple[str, str]], settings: ServeSettings) -> PredictionOptions:
    """Return the prediction options that the query of a request states.

    Args:
        query: names and values, in order; ``classes`` may be there several times, or hold several with commas.
        settings: the largest values that a request may ask for.

    Raises:
        RequestProblem: an option is unknown, is there twice, or has a value that makes no sense.
    """
    values: dict[str, Any] = {}
    for name, text in query:
        if name not in _FIELDS:
            shown = printable(name)[:80]
            keys = [key.rpartition('.')[2] for key in WORDS.get(name, ())]
            meant = next((key for key in keys if key in _FIELDS), None)
            hint = f'; write {meant}.' if meant else f'.{nearest(shown, _FIELDS)}'
            raise RequestProblem(422, f'there is no option {shown!r}{hint} There are format, {", ".join(_FIELDS)}')
        if _takes_several(_FIELDS[name]):
            parts = text.split(',')
            if not all(part.strip() for part in parts):
                raise RequestProblem(
                    422, f'{name} is {printable(text)[:80]!r}, which has an empty part; leave {name} out to ask for all'
                )
            values.setdefault(name, []).extend(parts)
        elif name in values:
            raise RequestProblem(422, f'the option {name} is there twice')
        else:
            values[name] = _convert(_FIELDS[name], text)
    if len(values.get('classes', ())) > _MAX_CLASSES:
        raise RequestProblem(422, f'classes names more than {_MAX_CLASSES:,} classes')
    for name, most in (('img_size', settings.max_img_size), ('max_per_img', settings.max_per_img)):
        if (values.get(name) or 0) > most:
            raise RequestProblem(422, f'{name} is {values[name]}, but this server takes {most} at most')
    try:
        return replace(PredictionOptions(), **{name: _frozen(value) for name, value in values.items()})
    except ConfigError as error:
        raise RequestProblem(422, str(error)) from error


def query_parameters() -> list[dict[str, Any]]:
    """Return the options as OpenAPI describes the parameters of a query."""
    return [
        {
            'name': name,
            'in': 'query',
            'required': False,
            'description': _argument(each).get('help', ''),
            'schema': _schema(each),
            **({'style': 'form', 'explode': True} if _takes_several(each) else {}),
        }
        for name, each in _FIELDS.items()
    ]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _argument(each: Field) -> dict[str, Any]:
    return each.metadata['argument']


def _takes_several(each: Field) -> bool:
    return 'nargs' in _argument(each)


def _convert(each: Field, text: str) -> Any:
    kind = _argument(each).get('type')
    try:
        if not _PLAIN.fullmatch(text):  # int() and float() accept '1_0' and the digits of every script
            raise ValueError(text)
        return _FLAGS[text.lower()] if kind is None else kind(text)
    except (KeyError, ValueError) as error:
        noun = {None: 'true or false', int: 'a whole number', float: 'a number'}[kind]
        raise RequestProblem(422, f'{each.name} is {printable(text)[:40]!r}, but must be {noun}') from error


def _schema(each: Field) -> dict[str, Any]:
    if _takes_several(each):
        return {'type': 'array', 'items': {'type': 'string'}}
    schema: dict[str, Any] = {'type': {None: 'boolean', int: 'integer', float: 'number'}[_argument(each).get('type')]}
    if each.default is not MISSING and each.default is not None:
        schema['default'] = each.default
    return schema
