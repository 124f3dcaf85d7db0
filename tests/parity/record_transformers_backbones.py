"""Records what transformers 5.24 computes for RT-DETR's and D-FINE's backbones with seeded weights, into backbones.npz.

Run in an environment that has transformers 5.24.0 (it is no dependency of detkit):

    cd tests && python -m parity.record_transformers_backbones

Weights and images are made by ``backbone_shapes.py``, in float64. The file holds, of every model, in evaluation and
training mode, ``<model>.<mode>.<i>``: a fingerprint of each of its four maps; of some, ``<model>.grad.<parameter>``:
that of each gradient in training mode (float32).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from parity.backbone_shapes import MODELS, WITH_GRADIENTS, image, loss_of, state_of
from parity.seeded import fingerprint
from transformers import HGNetV2Backbone, HGNetV2Config, RTDetrResNetBackbone, RTDetrResNetConfig

STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
DEPTHS = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}
HGNETS = {
    'B0': dict(
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=[64, 256, 512, 1024],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[3, 3, 3, 3],
    ),
    'B2': dict(
        stem_channels=[3, 24, 32],
        stage_in_channels=[32, 96, 384, 768],
        stage_mid_channels=[32, 64, 128, 256],
        stage_out_channels=[96, 384, 768, 1536],
        stage_num_blocks=[1, 1, 3, 1],
        stage_numb_of_layers=[4, 4, 4, 4],
    ),
    'B4': {},  # the library's defaults
}


def build(arguments: dict) -> torch.nn.Module:
    if arguments['type'] == 'ResNet':
        depth = arguments['depth']
        basic = dict(layer_type='basic', hidden_sizes=[64, 128, 256, 512]) if depth == 18 else {}
        config = RTDetrResNetConfig(depths=DEPTHS[depth], out_features=STAGES, **basic)
        return RTDetrResNetBackbone(config).double()
    arch = HGNETS[arguments['arch']]
    embedding = dict(embedding_size=arch['stem_channels'][2], hidden_sizes=arch['stage_out_channels']) if arch else {}
    config = HGNetV2Config(
        out_features=STAGES, use_learnable_affine_block=arguments.get('lab', False), **embedding, **arch
    )
    return HGNetV2Backbone(config).double()


def main() -> None:
    recorded = {'version': transformers.__version__}
    for name, arguments in MODELS.items():
        model = build(arguments)
        model.load_state_dict(state_of({key: tuple(value.shape) for key, value in model.state_dict().items()}))
        print(name, sum(p.numel() for p in model.parameters()))
        for mode in ('eval', 'train'):  # in this order, as training mode moves the running statistics
            feats = model.train(mode == 'train')(image()).feature_maps
            for index, feat in enumerate(feats):
                recorded[f'{name}.{mode}.{index}'] = fingerprint(feat)
                print(mode, tuple(feat.shape), feat.std().item())
        if name not in WITH_GRADIENTS:
            continue
        loss_of(feats).backward()
        for key, parameter in model.named_parameters():
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name('backbones.npz'), **recorded)


if __name__ == '__main__':
    main()
