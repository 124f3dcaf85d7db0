"""DETRs for the tests: whole ones as published, and small ones."""

from __future__ import annotations

import torch
from parity.detr_shapes import MODELS as PUBLISHED
from parity.detr_shapes import NUM_CLASSES
from torch import nn

from detkit.registry import DETECTORS


def build_detr(name: str, device: str = 'cpu', **backbone) -> nn.Module:
    """A model of ``parity.detr_shapes``, without dropout."""
    depth, dilation, positions, encoder_layers, decoder_layers = PUBLISHED[name]
    kind = dict(sine='SinePositionEncoding', learned='LearnedPositionEncoding')[positions]
    with torch.device(device):
        return DETECTORS.build(
            dict(
                type='DETR',
                backbone={
                    **dict(
                        type='ResNet',
                        depth=depth,
                        out_indices=(4,),
                        frozen_stages=1,
                        norm='frozen',
                        dilate_last=dilation,
                    ),
                    **backbone,
                },
                head=dict(
                    type='DETRHead',
                    num_classes=NUM_CLASSES,
                    position_encoding=dict(type=kind),
                    transformer=dict(
                        type='DETRTransformer',
                        num_encoder_layers=encoder_layers,
                        num_decoder_layers=decoder_layers,
                        dropout=0.0,
                    ),
                ),
            )
        )


def small_head(num_classes: int = 5, num_queries: int = 10, layers: int = 2, dropout: float = 0.0, **kwargs) -> dict:
    """Config of a head that is quick to run."""
    return dict(
        type='DETRHead',
        num_classes=num_classes,
        num_queries=num_queries,
        transformer=dict(
            type='DETRTransformer',
            embed_dims=32,
            num_heads=4,
            num_encoder_layers=1,
            num_decoder_layers=layers,
            feedforward_dims=48,
            dropout=dropout,
        ),
        **kwargs,
    )


def small_detr(backbone: dict | None = None, neck: dict | list | None = None, **head) -> nn.Module:
    """A small backbone with a small head."""
    backbone = backbone or dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    return DETECTORS.build(dict(type='DETR', backbone=backbone, neck=neck, head=small_head(**head)))
