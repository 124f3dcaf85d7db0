"""A head whose losses depend on the size of the training images follows the config's ``img_size``."""

from typing import Any

from detkit.config.origins import Origins
from detkit.config.signatures import arguments_of

_HEAD = ('model', 'head', 'img_size')


def wire_image_size(values: dict[str, Any], origins: Origins) -> None:
    """Fill ``model.head.img_size`` from the variable ``img_size``, where the head takes it and none is given."""
    from detkit.registry import MODELS

    head, img_size = (values.get('model') or {}).get('head'), values.get('img_size')
    if not isinstance(head, dict) or 'img_size' in head or not isinstance(img_size, int):
        return
    kind = head.get('type')
    factory = MODELS.get(kind) if isinstance(kind, str) else kind
    if callable(factory) and 'img_size' in arguments_of(factory).names:
        head['img_size'] = img_size
        origins.set(_HEAD, origins.find(('img_size',)))
