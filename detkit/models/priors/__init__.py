"""Priors: the places (points, anchors) that a dense head predicts at."""

from .points import PointPriorGenerator, PointPriors

__all__ = ['PointPriorGenerator', 'PointPriors']
