"""The names of COCO's classes by category id, as DETR counts them: 80 classes, and N/A for the ids never given out."""

_base_ = './coco_classes.py'

names = _base_.classes
classes = (
    'N/A',
    *names[:11],
    'N/A',
    *names[11:24],
    'N/A',
    *names[24:26],
    'N/A',
    'N/A',
    *names[26:40],
    'N/A',
    *names[40:60],
    'N/A',
    names[60],
    'N/A',
    'N/A',
    names[61],
    'N/A',
    *names[62:73],
    'N/A',
    *names[73:],
)
