"""Files of small DETRs, as their authors and as Hugging Face's transformers write them."""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import torch
from torch import Tensor, nn

from detkit.converters.detr_file import DETR_KEYS
from detkit.registry import DETECTORS

_KINDS = {torch.float32: 'F32', torch.float16: 'F16', torch.int64: 'I64'}


def small_detr(
    num_classes: int = 91,
    masks: bool = False,
    positions: str = 'SinePositionEncoding',
    depth: int = 18,
    dilated: bool = False,
    num_heads: int = 1,
) -> nn.Module:
    """Random weights; normalisation frozen, as in published models."""
    torch.manual_seed(0)
    model = DETECTORS.build(
        dict(
            type='DETR',
            backbone=dict(
                type='ResNet',
                depth=depth,
                out_indices=(1, 2, 3, 4) if masks else (4,),
                norm='frozen',
                dilate_last=dilated,
            ),
            head=dict(
                type='DETRSegmentHead' if masks else 'DETRHead',
                num_classes=num_classes,
                num_queries=7,
                position_encoding=dict(type=positions),
                transformer=dict(
                    type='DETRTransformer',
                    embed_dims=32 if not masks else 64,
                    num_heads=num_heads,
                    num_encoder_layers=1,
                    num_decoder_layers=2,
                    feedforward_dims=40,
                ),
            ),
        )
    )
    for name, buffer in model.named_buffers():
        if name.endswith(('running_mean', 'running_var', 'bn1.weight', 'bn1.bias')):
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def published_state(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Under the names of a layout; the original's incoming projections are packed."""
    own = model.state_dict()
    names = {name: DETR_KEYS[layout].to_theirs(name) for name in own}
    masks = any('mask_head' in name for name in names.values())
    state: dict[str, Tensor] = {}
    for ours, value in own.items():
        theirs = names[ours]
        if masks and not theirs.startswith(('mask_head', 'bbox_attention')):
            theirs = f'detr.{theirs}'
        attention, found, rest = theirs.rpartition('.query_proj.')
        if layout == 'original' and found:
            parts = [own[ours.replace('.query_proj.', f'.{part}_proj.')] for part in ('query', 'key', 'value')]
            state[f'{attention}.in_proj_{rest}'] = torch.cat(parts)
        elif layout != 'original' or not any(f'.{part}_proj.' in theirs for part in ('key', 'value')):
            state[theirs] = value
    return state


def write_original(path: Path, model: nn.Module, zipped: bool = True, args: dict | None = None) -> Path:
    """``zipped=False`` as PyTorch before 1.6 saved files; ``args`` as training keeps them beside the weights."""
    content = {'model': published_state(model, 'original')}
    if args is not None:
        content |= {'args': argparse.Namespace(**args), 'optimizer': {'state': {0: {'step': 3}}}, 'epoch': 1}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def write_safetensors(path: Path, state: dict[str, Tensor]) -> Path:
    header, parts, offset = {'__metadata__': {'format': 'pt'}}, [], 0
    for name, value in state.items():
        parts.append(value.contiguous().numpy().tobytes())
        header[name] = {
            'dtype': _KINDS[value.dtype],
            'shape': list(value.shape),
            'data_offsets': [offset, offset + len(parts[-1])],
        }
        offset += len(parts[-1])
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + b''.join(parts))
    return path


def write_hub(folder: Path, model: nn.Module, config: dict | None = None) -> Path:
    """``model.safetensors`` with, beside it, ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / 'config.json').write_text(json.dumps(config))
    return write_safetensors(folder / 'model.safetensors', published_state(model, 'hugging_face'))
