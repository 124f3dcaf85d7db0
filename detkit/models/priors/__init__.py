"""Priors: the points or anchors at which a dense head predicts."""

from .anchor_prior_generator import AnchorPriorGenerator, AnchorPriors
from .point_prior_generator import PointPriorGenerator, PointPriors
from .prior_generator import BasePriorGenerator

__all__ = ['AnchorPriorGenerator', 'AnchorPriors', 'BasePriorGenerator', 'PointPriorGenerator', 'PointPriors']
