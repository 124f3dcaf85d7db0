"""YOLO26 detection with the weights of losses by which the published models were fine-tuned on COCO.

The values are those of https://docs.ultralytics.com/guides/yolo26-training-recipe.
"""

_base_ = './yolo26_det.py'

size = 'n'
# By size: the weights of boxes, classes and distances; the last is of a sum over four sides.
_weights = dict(
    n=(5.63, 0.56, 9.04 / 4),
    s=(9.83, 0.65, 0.96 / 4),
    m=(9.83, 0.65, 0.96 / 4),
    l=(9.83, 0.65, 0.96 / 4),
    x=(9.83, 0.65, 0.96 / 4),
)
_box, _cls, _l1 = _weights[size]

model = dict(
    head=dict(loss_bbox=dict(loss_weight=_box), loss_cls=dict(loss_weight=_cls), loss_dfl=dict(loss_weight=_l1))
)
