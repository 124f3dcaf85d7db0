"""Answers to a request for predictions: JSON, or a picture with what was found drawn on it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import cv2
from starlette.responses import Response

from detkit.inference import Result
from detkit.serving.problems import RequestProblem
from detkit.utils.printable import printable

# The formats of answers, by the value of the query's 'format'.
FORMATS = {'json': 'application/json', 'jpg': 'image/jpeg', 'png': 'image/png'}
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]


def choose_format(asked: str | None, accept: str) -> str:
    """Return the format of an answer.

    Args:
        asked: the query's 'format'; None where it has none.
        accept: the header Accept, which counts then.

    Raises:
        RequestProblem: there is no such format.
    """
    if asked is not None:
        found = {'jpeg': 'jpg'}.get(asked, asked)
        if found not in FORMATS:
            raise RequestProblem(422, f'format is {printable(asked)[:40]!r}, but must be one of {", ".join(FORMATS)}')
        return found
    for kind in _by_preference(accept):
        for name, known in FORMATS.items():
            if kind in (known, '*/*') or (kind.endswith('/*') and known.startswith(kind[:-1])):
                return name
    raise RequestProblem(406, f'answers are {", ".join(FORMATS.values())}, of which Accept names none', unread=True)


def _by_preference(accept: str) -> list[str]:
    """Return the media types of a header Accept, the most wanted first."""
    found = []
    for part in (accept or '*/*').split(','):
        kind, *parameters = (word.strip().lower() for word in part.split(';'))
        weight = next((word[2:] for word in parameters if word.startswith('q=')), '1')
        try:
            found.append((-float(weight), kind))
        except ValueError:
            continue
    return [kind for weight, kind in sorted(found, key=lambda pair: pair[0]) if weight < 0]


def json_answer(results: Sequence[Result]) -> Response:
    """Return the results of all images as JSON; see ``Predictions``."""
    return Response(json.dumps({'results': [result.to_dict() for result in results]}), media_type='application/json')


def picture_answer(result: Result, kind: str) -> Response:
    """Return a picture of an image with what was found in it, 'jpg' or 'png'."""
    options = _JPEG_QUALITY if kind == 'jpg' else []
    done, data = cv2.imencode(f'.{kind}', result.plot()[..., ::-1], options)
    if not done:
        raise RequestProblem(422, f'{result.img_path}: an image of {result.img_shape} cannot be written as {kind}')
    return Response(data.tobytes(), media_type=FORMATS[kind])
