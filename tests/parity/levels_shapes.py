"""Models with a fourth level: their stages, and the size of the images that they are compared on."""

LEVELS = {'p2': 4, 'p6': 5}
SHAPE = (192, 256)  # which a stride of 64 divides
# The tasks of a model with a level of stride 64, beside detection, and their classes.
TASKS = {'seg': 80, 'pose': 1}
