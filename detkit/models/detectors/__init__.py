"""Detectors: glue between a backbone, necks and a head."""

from .single_stage import SingleStageDetector

__all__ = ['SingleStageDetector']
