"""Priors: the points or anchors at which a dense head predicts."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.priors.anchor_prior_generator import AnchorPriorGenerator, AnchorPriors
    from detkit.models.priors.point_prior_generator import PointPriorGenerator, PointPriors
    from detkit.models.priors.prior_generator import BasePriorGenerator
    from detkit.models.priors.size_ratio_anchors import BoxPriors, SizeRatioAnchorGenerator

__getattr__ = lazy_names(
    __name__,
    {
        'AnchorPriorGenerator': 'anchor_prior_generator',
        'AnchorPriors': 'anchor_prior_generator',
        'BasePriorGenerator': 'prior_generator',
        'PointPriorGenerator': 'point_prior_generator',
        'PointPriors': 'point_prior_generator',
        'BoxPriors': 'size_ratio_anchors',
        'SizeRatioAnchorGenerator': 'size_ratio_anchors',
    },
)

__all__ = [
    'AnchorPriorGenerator',
    'AnchorPriors',
    'BasePriorGenerator',
    'PointPriorGenerator',
    'PointPriors',
    'BoxPriors',
    'SizeRatioAnchorGenerator',
]
