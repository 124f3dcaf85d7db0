"""A head whose losses depend on the size of the training images follows the config's ``img_size``."""

from typing import Any

from detkit.config.origins import Origins
from detkit.config.top_level import takes_image_size

_HEAD = ('model', 'head', 'img_size')


def wire_image_size(values: dict[str, Any], origins: Origins) -> None:
    """Fill ``model.head.img_size`` from the variable ``img_size``, where the head takes it and none is given."""
    img_size = values.get('img_size')
    if isinstance(img_size, int) and takes_image_size(values) and 'img_size' not in values['model']['head']:
        values['model']['head']['img_size'] = img_size
        origins.set(_HEAD, origins.find(('img_size',)))
