"""Transforms: loading, lazy geometry, mixing of samples, rendering, colour, packing.

A transform is any callable that takes a ``Sample`` and returns a changed copy. Geometry only composes the
matrices of ``sample.scene``; ``Render`` turns the scene into ``sample.img`` and ``sample.annotations``.

A transform may declare its ``stage``, by which the check of a config judges the order: 'load', 'geometry' (changes the
scene), 'render', 'pixels' (changes the image that was drawn) or 'pack'.
One that cuts the scene says ``cuts = True``, one that may turn, shear or tilt it names the arguments that do so in
``turning_arguments``: a turned scene cannot be cut.
"""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.datasets.transforms.blending import CopyBlend
    from detkit.datasets.transforms.choice import RandomChoice
    from detkit.datasets.transforms.color import ColorJitter, RandomHSV, RandomPhotometricDistort
    from detkit.datasets.transforms.cropping import (
        CenterCrop,
        RandomCrop,
        RandomResizedCrop,
        Resize,
        ResizeShortestEdge,
    )
    from detkit.datasets.transforms.erasing import RandomErasing
    from detkit.datasets.transforms.geometry import LetterBox, RandomAffine, RandomFlip
    from detkit.datasets.transforms.loading import LoadImageFromFile
    from detkit.datasets.transforms.mixing import CopyPaste, GridMosaic, MixUp, Mosaic, ScaledMixUp
    from detkit.datasets.transforms.packing import PackInputs
    from detkit.datasets.transforms.rand_augment import RandAugment
    from detkit.datasets.transforms.render import Render
    from detkit.datasets.transforms.segments import LoadSegments
    from detkit.datasets.transforms.ssd_cropping import RandomIoUCrop, RandomZoomOut

__getattr__ = lazy_names(
    __name__,
    {
        'CenterCrop': 'cropping',
        'ColorJitter': 'color',
        'CopyBlend': 'blending',
        'CopyPaste': 'mixing',
        'GridMosaic': 'mixing',
        'LetterBox': 'geometry',
        'LoadImageFromFile': 'loading',
        'LoadSegments': 'segments',
        'MixUp': 'mixing',
        'Mosaic': 'mixing',
        'PackInputs': 'packing',
        'RandAugment': 'rand_augment',
        'RandomAffine': 'geometry',
        'RandomChoice': 'choice',
        'RandomCrop': 'cropping',
        'RandomErasing': 'erasing',
        'RandomFlip': 'geometry',
        'RandomHSV': 'color',
        'RandomIoUCrop': 'ssd_cropping',
        'RandomPhotometricDistort': 'color',
        'RandomResizedCrop': 'cropping',
        'RandomZoomOut': 'ssd_cropping',
        'Render': 'render',
        'ScaledMixUp': 'mixing',
        'Resize': 'cropping',
        'ResizeShortestEdge': 'cropping',
    },
)

__all__ = [
    'CenterCrop',
    'ColorJitter',
    'CopyBlend',
    'CopyPaste',
    'GridMosaic',
    'RandomHSV',
    'LetterBox',
    'LoadImageFromFile',
    'LoadSegments',
    'MixUp',
    'Mosaic',
    'PackInputs',
    'RandAugment',
    'RandomAffine',
    'RandomChoice',
    'RandomCrop',
    'RandomErasing',
    'RandomFlip',
    'RandomIoUCrop',
    'RandomPhotometricDistort',
    'RandomResizedCrop',
    'RandomZoomOut',
    'Render',
    'ScaledMixUp',
    'ResizeShortestEdge',
    'Resize',
]
