"""Names of the classes of the public datasets that the configs use."""

from collections import Counter
from collections.abc import Mapping, Sequence

from detkit.utils.errors import DataError

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

# The name of a class that fills an unused id.
UNUSED_CLASS = 'N/A'


def names_by_id(names: Mapping[int, str], count: int | None = None) -> tuple[str, ...]:
    """Return class names whose labels are their category ids: ids without a name get ``UNUSED_CLASS``.

    Args:
        names: by category id.
        count: the number of classes; by default one more than the largest id.
    """
    return tuple(names.get(number, UNUSED_CLASS) for number in range(count or max(names) + 1))


def refuse_repeated(names: Sequence[str], source: str) -> None:
    """Refuse names of classes of which two are the same; those of unused ids may be.

    Raises:
        DataError: names the class and ``source``.
    """
    twice = [name for name, count in Counter(names).items() if count > 1 and name != UNUSED_CLASS]
    if twice:
        raise DataError(f'{source} names the class {twice[0]!r} more than once; give each class a name of its own')


# The remedy for names of classes that the files do not have; it follows the sentence of a reader.
CLASSES_REMEDY = ' Correct classes (of the config, or of metainfo); classes=None takes all names of the files.'

# Names that some projects give to classes of COCO, and COCO's own.
COCO_ALIASES: dict[str, str] = {
    'motorbike': 'motorcycle', 'aeroplane': 'airplane', 'sofa': 'couch', 'pottedplant': 'potted plant',
    'diningtable': 'dining table', 'tvmonitor': 'tv',
}  # fmt: skip

# COCO's classes as DETR counts them, by category id; what no id has is ``UNUSED_CLASS``.
COCO91: tuple[str, ...] = names_by_id(dict(zip(COCO_CATEGORY_IDS, COCO80, strict=True)))

# COCO's 53 kinds of stuff by category id; the things of its panoptic annotations are the 80 object classes.
COCO_STUFF: dict[int, str] = {
    92: 'banner', 93: 'blanket', 95: 'bridge', 100: 'cardboard', 107: 'counter', 109: 'curtain', 112: 'door-stuff',
    118: 'floor-wood', 119: 'flower', 122: 'fruit', 125: 'gravel', 128: 'house', 130: 'light', 133: 'mirror-stuff',
    138: 'net', 141: 'pillow', 144: 'platform', 145: 'playingfield', 147: 'railroad', 148: 'river', 149: 'road',
    151: 'roof', 154: 'sand', 155: 'sea', 156: 'shelf', 159: 'snow', 161: 'stairs', 166: 'tent', 168: 'towel',
    171: 'wall-brick', 175: 'wall-stone', 176: 'wall-tile', 177: 'wall-wood', 178: 'water-other', 180: 'window-blind',
    181: 'window-other', 184: 'tree-merged', 185: 'fence-merged', 186: 'ceiling-merged', 187: 'sky-other-merged',
    188: 'cabinet-merged', 189: 'table-merged', 190: 'floor-other-merged', 191: 'pavement-merged',
    192: 'mountain-merged', 193: 'grass-merged', 194: 'dirt-merged', 195: 'paper-merged', 196: 'food-other-merged',
    197: 'building-other-merged', 198: 'rock-merged', 199: 'wall-other-merged', 200: 'rug-merged',
}  # fmt: skip

# Things and stuff as DETR counts them, by category id; it has 250 classes, though no id is above 200.
COCO_PANOPTIC: tuple[str, ...] = names_by_id({**dict(enumerate(COCO91)), **COCO_STUFF}, 250)

# The classes of PASCAL VOC (https://host.robots.ox.ac.uk/pascal/VOC), in alphabetical order as in its lists.
VOC20: tuple[str, ...] = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
    'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip

# The object classes of DOTA (https://captain-whu.github.io/DOTA): version 1, one more in 1.5, two more in 2.
DOTA15: tuple[str, ...] = (
    'plane', 'ship', 'storage tank', 'baseball diamond', 'tennis court', 'basketball court', 'ground track field',
    'harbor', 'bridge', 'large vehicle', 'small vehicle', 'helicopter', 'roundabout', 'soccer ball field',
    'swimming pool',
)  # fmt: skip
DOTA16: tuple[str, ...] = (*DOTA15, 'container crane')
DOTA18: tuple[str, ...] = (*DOTA16, 'airport', 'helipad')
