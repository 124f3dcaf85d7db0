"""Records what transformers 5.24 computes for RF-DETR's backbone and projector with seeded weights, into rfdetr.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_rfdetr

Weights and images are made by ``rfdetr_shapes.py``, in float64. The file holds, of every backbone, a fingerprint of

- ``<name>.map.<i>``: each of its maps;
- ``<name>.projected``: the projector's map of these;
- ``<name>.grad.<parameter>``: each gradient of ``loss_of`` the projected map (float32).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from parity.rfdetr_shapes import (
    BACKBONES,
    DEPTH,
    EMBED_DIMS,
    HEADS,
    OUT_BLOCKS,
    PATCH,
    PROJECTOR_DIMS,
    image,
    loss_of,
    state_of,
)
from parity.seeded import fingerprint
from transformers import RfDetrConfig, RfDetrDinov2Config
from transformers.models.rf_detr.modeling_rf_detr import RfDetrConvEncoder

PREFIX = 'model.backbone.'


def backbone_config(windows: int, table: int) -> RfDetrDinov2Config:
    return RfDetrDinov2Config(
        hidden_size=EMBED_DIMS,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        image_size=table * PATCH,
        patch_size=PATCH,
        num_windows=windows,
        out_features=[f'stage{index}' for index in OUT_BLOCKS],
    )


def load(model: torch.nn.Module, prefix: str = '') -> torch.nn.Module:
    shapes = {prefix + name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name.removeprefix(prefix): value for name, value in state_of(shapes).items()})
    return model


def record_backbone(name: str, recorded: dict) -> None:
    windows, table, side = BACKBONES[name]
    config = RfDetrConfig(
        backbone_config=backbone_config(windows, table), d_model=PROJECTOR_DIMS, layer_norm_eps=1e-6, c2f_num_blocks=2
    )
    encoder = load(RfDetrConvEncoder(config).double(), PREFIX)
    feats = encoder.backbone(image(side)).feature_maps
    projected, _ = encoder(image(side), torch.ones(2, side, side, dtype=torch.int64))
    for index, feat in enumerate(feats):
        recorded[f'{name}.map.{index}'] = fingerprint(feat)
    recorded[f'{name}.projected'] = fingerprint(projected)
    print(name, tuple(projected.shape), projected.std().item())
    loss_of([projected]).backward()
    for key, parameter in encoder.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{PREFIX}{key}'] = fingerprint(parameter.grad).astype(np.float32)


def main() -> None:
    recorded = {'version': transformers.__version__}
    for name in BACKBONES:
        record_backbone(name, recorded)
    np.savez_compressed(Path(__file__).with_name('rfdetr.npz'), **recorded)


if __name__ == '__main__':
    main()
