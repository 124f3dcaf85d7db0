"""Names of the classes of the public datasets that the configs use."""

from collections.abc import Mapping

# COCO's 80 object classes in the order of their category ids (https://cocodataset.org).
COCO80: tuple[str, ...] = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
    'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
    'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
    'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
    'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
    'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
    'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear',
    'hair drier', 'toothbrush',
)  # fmt: skip

# The ids that COCO's annotation files and its evaluation server use for them; ten of 1 ... 90 were never given out.
COCO_CATEGORY_IDS: tuple[int, ...] = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))

# What a class is called that keeps an unused id in its place.
UNUSED_CLASS = 'N/A'


def names_by_id(names: Mapping[int, str]) -> tuple[str, ...]:
    """Class names such that a class's label is its category id: ids without a name get ``UNUSED_CLASS``."""
    return tuple(names.get(number, UNUSED_CLASS) for number in range(max(names) + 1))


# COCO's classes as DETR counts them, by category id; what no id has is ``UNUSED_CLASS``.
COCO91: tuple[str, ...] = names_by_id(dict(zip(COCO_CATEGORY_IDS, COCO80, strict=True)))

# The object classes of DOTA (https://captain-whu.github.io/DOTA): version 1, one more in 1.5, two more in 2.
DOTA15: tuple[str, ...] = (
    'plane', 'ship', 'storage tank', 'baseball diamond', 'tennis court', 'basketball court', 'ground track field',
    'harbor', 'bridge', 'large vehicle', 'small vehicle', 'helicopter', 'roundabout', 'soccer ball field',
    'swimming pool',
)  # fmt: skip
DOTA16: tuple[str, ...] = (*DOTA15, 'container crane')
DOTA18: tuple[str, ...] = (*DOTA16, 'airport', 'helipad')
