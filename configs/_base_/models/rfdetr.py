"""RF-DETR (https://arxiv.org/abs/2511.09554). Its sizes are in all of its configs: ``--cfg-options size=s``.

Images are stretched to a square, whose published side depends on the size and may be another: ``img_size=560``. The
published weights are those of a search over many networks that share weights, trained on Objects365 before COCO; start
from them (docs/rfdetr.md), as training from scratch does not reach their figures. The sizes xl and 2xl of the detector
have weights under another licence (PML 1.0), and are left out.
"""

_base_ = './rfdetr_base.py'

# By size: the side of the images in pixels, the decoder's layers, queries, and windows along each side of an image.
sizes = dict(
    n=(384, 2, 300, 2),
    s=(512, 3, 300, 2),
    m=(576, 4, 300, 2),
    l=(704, 4, 300, 2),
    tiny=(192, 2, 30, 2),  # no published one
)
size = 'n'
side, num_layers, num_queries, num_windows = sizes[size]
