"""What DEIMv2's sizes are trained on, whatever the dataset."""

size = 'n'
# By size: the side of images, the shares of mosaics, averaged images and blended objects, and the least side of a box.
data_by_size = dict(
    atto=(320, 0.3, 0.0, 0.0, 12),
    femto=(416, 0.5, 0.0, 0.0, 10),
    pico=(640, 0.5, 0.0, 0.0, 8),
    n=(640, 0.5, 0.5, 0.4, 1),
)
