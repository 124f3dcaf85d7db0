"""Priors: the places (points, anchors) that a dense head predicts at."""

from .anchor_prior_generator import AnchorPriorGenerator, AnchorPriors
from .point_prior_generator import PointPriorGenerator, PointPriors
from .prior_generator import PriorGenerator

__all__ = ['AnchorPriorGenerator', 'AnchorPriors', 'PointPriorGenerator', 'PointPriors', 'PriorGenerator']
