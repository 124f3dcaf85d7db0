"""Priors: the places (points, anchors) that a dense head predicts at."""

from .point_prior_generator import PointPriorGenerator, PointPriors

__all__ = ['PointPriorGenerator', 'PointPriors']
