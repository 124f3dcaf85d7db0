"""The kinds of files that commands take, by their names, for errors on arguments in a wrong order."""

from __future__ import annotations

import mimetypes
import os

_WEIGHTS = ('.pth', '.pt', '.pt2', '.pte', '.tflite', '.onnx', '.engine', '.torchscript', '.safetensors', '.weights')
_DATA = ('.json', '.yaml', '.yml')
# Names of the kinds of files in errors.
KINDS = {
    'picture': 'a picture',
    'video': 'a video',
    'weights': 'a file of weights',
    'config': 'a config',
    'data': 'a description of data',
    'folder': 'a folder',
}


def kind_of(path: str) -> str | None:
    """Return a key of ``KINDS`` for a path, by its suffix or because it is a folder; None where neither says it."""
    if '://' in path:
        return None
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _WEIGHTS:
        return 'weights'
    if suffix == '.py':
        return 'config'
    if suffix in _DATA:
        return 'data'
    major = (mimetypes.guess_type(path)[0] or '').partition('/')[0]
    if major in ('image', 'video'):
        return {'image': 'picture'}.get(major, major)
    return 'folder' if not suffix and os.path.isdir(path) else None  # some exported files are folders with a suffix
