"""The 15 classes of DOTA version 1 (https://captain-whu.github.io/DOTA), in the order of YOLO's label files."""

classes = (
    'plane',
    'ship',
    'storage tank',
    'baseball diamond',
    'tennis court',
    'basketball court',
    'ground track field',
    'harbor',
    'bridge',
    'large vehicle',
    'small vehicle',
    'helicopter',
    'roundabout',
    'soccer ball field',
    'swimming pool',
)
