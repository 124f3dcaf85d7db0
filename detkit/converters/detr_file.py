"""Files with a DETR's weights: their tensors, what is said about the model beside them, and the names of parameters."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import KeyTable, Rows
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.utils.errors import CheckpointError, DataError, shorten
from detkit.utils.json_files import read_json
from detkit.utils.safetensors_file import is_safetensors, read_safetensors
from detkit.utils.torch_files import LOADING_ERRORS, is_plain_tensor, is_zip, load_plain

_EXPECTED = (
    'give a published checkpoint (.pth), or model.safetensors or pytorch_model.bin of the Hugging Face Hub with its '
    'config.json beside it'
)
# A line of a report, where ``averaged_weights`` of a file were taken.
AVERAGED = 'weights  the averaged ones of training (ema)'


class NoDETRError(CheckpointError):
    """A file is no DETR, nor says that it should be one.

    Args:
        path: the file.
        found: a clause on what it is, for people who expect no DETR in it.
        detail: further words for people who do.
    """

    def __init__(self, path: Path, found: str, detail: str) -> None:
        super().__init__(f'{path} {detail}; {_EXPECTED}.')
        self.found = found


@dataclass(frozen=True)
class DETRFile:
    """A DETR's weights, and what the file or its companions say about the model.

    Attributes:
        layout: 'original' or 'hugging_face', see ``DETR_KEYS``.
        tensors: the tensors by the file's names, packed projections unpacked.
        dilated: whether the backbone's last stage is dilated, which weights do not show; None where it is not said.
        num_heads: the heads of the attentions; None where that is not said.
        classes: the names by label; None where they are not said.
        said_by: the name of the file that says these.
    """

    layout: str
    tensors: dict[str, Tensor]
    dilated: bool | None = None
    num_heads: int | None = None
    classes: tuple[str, ...] | None = None
    said_by: str | None = None


def read_detr(path: Path) -> DETRFile:
    """Read a file; nothing in it is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no DETR.
    """
    content, tensors = read_state(path)
    layout = layout_of(tensors)
    if layout is None:
        some = ', '.join(sorted(tensors)[:3]) or 'none'
        raise NoDETRError(
            path,
            f'holds no model that detkit knows (its tensors are {some}, ...)',
            f'is no DETR: it has no layer for classes under a name of DETR (its tensors are {some}, ...)',
        )
    known = what_lies_beside(path) if layout == 'hugging_face' else _arguments(content.get('args'), path)
    return DETRFile(layout, unpack(tensors), **known)


def read_state(path: Path) -> tuple[Mapping[Any, Any], dict[str, Tensor]]:
    """Return a file's content and its tensors by name; nothing in it is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no weights by name, or other tensors than plain ones.
    """
    if not path.is_file():
        kind = 'is a folder' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'{path} {kind}; {_EXPECTED}.')
    content = _read(path)
    if not isinstance(content, Mapping):
        raise _no_weights(path, [content])
    if isinstance(content.get('meta'), Mapping) and 'state_dict' in content:
        raise CheckpointError(
            f"{path} holds 'meta' and 'state_dict': it is a checkpoint of detkit or of another "
            f'toolbox on mmengine; {_EXPECTED}.'
        )
    found = (averaged_weights(content), content.get('model'), content.get('state_dict'), content)
    weights = next(weights for weights in found if isinstance(weights, Mapping))
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise _no_weights(path, weights.values())
    other = [name for name, value in tensors.items() if not is_plain_tensor(value)]
    if other:
        raise CheckpointError(
            f'{path} holds tensors that are not dense and of real numbers, each stored on its own ({shorten(other)}); '
            'save them as plain tensors.'
        )
    return content, without_wrappers(tensors)


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names of the bare model.

    A model that is trained on several devices has all names behind ``module.``, and a compiled one, or a part of one,
    has ``_orig_mod.`` in front of its own.
    """
    bare = {name.replace('_orig_mod.', ''): tensor for name, tensor in tensors.items()}
    if bare and all(name.startswith('module.') for name in bare):
        bare = {name.removeprefix('module.'): tensor for name, tensor in bare.items()}
    return bare


def _no_weights(path: Path, content: Iterable[Any]) -> NoDETRError:
    whole = next((value.path for value in content if isinstance(value, StandIn)), None)
    found = 'holds no weights by name' + ('' if whole is None else f', but an object of {whole}')
    return NoDETRError(path, found, found)


def averaged_weights(content: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """Return the averaged weights that training keeps beside the others, ``ema.module``; None where there are none."""
    ema = content.get('ema')
    weights = ema.get('module') if isinstance(ema, Mapping) else None
    return weights if isinstance(weights, Mapping) else None


def _read(path: Path) -> Any:
    if is_zip(path):
        with TorchArchive(path) as archive:
            return _with_tensors(archive, archive.content)
    if is_safetensors(path):
        return read_safetensors(path)
    # PyTorch before 1.6 wrote such files, DETR's published ones among them; it reads them without running anything.
    try:
        return load_plain(path)
    except (pickle.UnpicklingError, *LOADING_ERRORS) as error:
        # PyTorch's own words advise to load the file with what it may run.
        found = f'cannot be read ({path.stat().st_size:,} bytes): it is damaged or cut off, or no file of weights'
        raise NoDETRError(path, found, found) from error


def _with_tensors(archive: TorchArchive, content: Any) -> Any:
    """Read the tensors of a file's content, in its top level and in the dicts that hold weights."""
    if not isinstance(content, dict):
        return content
    read: dict[Any, Any] = {}
    for key, value in content.items():
        if isinstance(value, TensorRef):
            read[key] = archive.read(value)
        elif isinstance(value, dict) and key in ('model', 'state_dict', 'module'):
            read[key] = {name: archive.read(ref) for name, ref in value.items() if isinstance(ref, TensorRef)}
        elif key == 'ema':
            read[key] = _with_tensors(archive, value)
        else:
            read[key] = value
    return read


def _arguments(args: Any, path: Path) -> dict[str, Any]:
    """Return what the training arguments that DETR's own code saves with the weights say."""
    values = args.state if isinstance(args, StandIn) else None
    if not isinstance(values, dict):
        return {}
    return dict(dilated=_bool(values.get('dilation')), num_heads=_positive(values.get('nheads')), said_by=path.name)


def what_lies_beside(path: Path) -> dict[str, Any]:
    """Return what the Hub's ``config.json`` beside the weights says, as arguments of ``DETRFile``."""
    values = hub_config(path)
    return dict(
        dilated=_bool(values.get('dilation')),
        num_heads=_positive(values.get('encoder_attention_heads')),
        classes=hub_classes(values, path),
        said_by='config.json' if values else None,
    )


def hub_config(path: Path) -> dict[str, Any]:
    """Return the Hub's ``config.json`` beside the weights; an empty dict where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    file = path.with_name('config.json')
    if not file.is_file():
        return {}
    try:
        values = read_json(file, 'file')
    except DataError as error:
        raise _damaged(file, error) from error
    if not isinstance(values, dict):
        raise _damaged(file, TypeError('it holds no keys'))
    return values


def hub_classes(values: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Return the class names by label that a ``config.json`` states; None for none, or placeholders.

    Raises:
        CheckpointError: they are no names of labels from 0 on.
    """
    names = values.get('id2label') or {}
    try:
        classes = tuple(str(names[str(label)]) for label in range(len(names))) or None
    except (KeyError, TypeError) as error:
        raise _damaged(path.with_name('config.json'), error) from error
    if classes is not None and all(name == f'LABEL_{label}' for label, name in enumerate(classes)):
        return None  # the classes were never named
    return classes


def _damaged(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f'{file} is damaged ({type(error).__name__}: {error}); copy it again, or remove it to have the weights '
        'converted without what it says.'
    )


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


# Names of parameters: those of DETR's own files and of the Hugging Face Hub, and detkit's. The backbone's are those of
# torchvision on all sides but one, see ``_renamed_backbone``.


def _attention(theirs: str, ours: str) -> Rows:
    """Return the rows of an attention of the Hub; the original packs the incoming projections into one tensor."""
    short = dict(query_proj='q_proj', key_proj='k_proj', value_proj='v_proj', out_proj='out_proj')
    return tuple((f'{theirs}.{short[name]}', f'{ours}.{name}') for name in short)


_ENCODER, _DECODER = 'head.transformer.encoder_layers.{}', 'head.transformer.decoder_layers.{}'

# The mask head has the same names in both.
_MASKS: Rows = (
    ('bbox_attention.q_linear', 'head.mask_attention.query_proj'),
    ('bbox_attention.k_linear', 'head.mask_attention.key_proj'),
    *((f'mask_head.lay{i + 1}', f'head.mask_decoder.convs.{i}') for i in range(5)),
    *((f'mask_head.gn{i + 1}', f'head.mask_decoder.norms.{i}') for i in range(5)),
    *((f'mask_head.adapter{i + 1}', f'head.mask_decoder.laterals.{i}') for i in range(3)),
    ('mask_head.out_lay', 'head.mask_decoder.conv_mask'),
)


class DETRKeys(KeyTable):
    """The names of a DETR's parameters; its own files pack the incoming projections of an attention into one tensor."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows, dropped=r'.*\.num_batches_tracked$')  # counters that training keeps and nothing reads

    def to_detkit(self, name: str) -> str | None:
        ours = super().to_detkit(name.removeprefix('detr.'))  # the prefix of models with masks
        return None if ours is None else _renamed_backbone(ours)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().convert(unpack(state))


def _renamed_backbone(name: str) -> str:
    """Return torchvision's name for one of transformers' own ResNet (the Hub's revisions ``no_timm``)."""
    name = name.replace('backbone.embedder.embedder.convolution', 'backbone.conv1')
    name = name.replace('backbone.embedder.embedder.normalization', 'backbone.bn1')
    stage = re.match(r'backbone\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(.*)', name)
    if stage is None:
        return name
    index, block, rest = stage.groups()
    rest = rest.replace('shortcut.convolution', 'downsample.0').replace('shortcut.normalization', 'downsample.1')
    rest = re.sub(r'layer\.(\d)\.convolution', lambda match: f'conv{int(match[1]) + 1}', rest)
    rest = re.sub(r'layer\.(\d)\.normalization', lambda match: f'bn{int(match[1]) + 1}', rest)
    return f'backbone.layer{int(index) + 1}.{block}.{rest}'


DETR_KEYS = {
    'original': DETRKeys(
        (
            ('backbone.0.body', 'backbone'),
            ('backbone.1.row_embed', 'head.position_encoding.row_embed'),
            ('backbone.1.col_embed', 'head.position_encoding.column_embed'),
            ('input_proj', 'head.input_proj'),
            ('query_embed', 'head.query_embed'),
            ('transformer.encoder.layers.{}.self_attn', f'{_ENCODER}.self_attn'),
            ('transformer.encoder.layers.{}.linear{}', f'{_ENCODER}.linear{{}}'),
            ('transformer.encoder.layers.{}.norm1', f'{_ENCODER}.norm_self'),
            ('transformer.encoder.layers.{}.norm2', f'{_ENCODER}.norm_ffn'),
            ('transformer.decoder.layers.{}.self_attn', f'{_DECODER}.self_attn'),
            ('transformer.decoder.layers.{}.multihead_attn', f'{_DECODER}.cross_attn'),
            ('transformer.decoder.layers.{}.linear{}', f'{_DECODER}.linear{{}}'),
            ('transformer.decoder.layers.{}.norm1', f'{_DECODER}.norm_self'),
            ('transformer.decoder.layers.{}.norm2', f'{_DECODER}.norm_cross'),
            ('transformer.decoder.layers.{}.norm3', f'{_DECODER}.norm_ffn'),
            ('transformer.decoder.norm', 'head.transformer.decoder_norm'),
            ('class_embed', 'head.fc_cls'),
            ('bbox_embed.layers.{}', 'head.bbox_mlp.layers.{}'),
            *_MASKS,
        )
    ),
    'hugging_face': DETRKeys(
        (
            ('model.backbone.conv_encoder.model', 'backbone'),
            ('model.position_embedding.row_embeddings', 'head.position_encoding.row_embed'),
            ('model.position_embedding.column_embeddings', 'head.position_encoding.column_embed'),
            # The names of releases before 5.
            ('model.backbone.position_embedding.row_embeddings', 'head.position_encoding.row_embed'),
            ('model.backbone.position_embedding.column_embeddings', 'head.position_encoding.column_embed'),
            ('model.input_projection', 'head.input_proj'),
            ('model.query_position_embeddings', 'head.query_embed'),
            *_attention('model.encoder.layers.{}.self_attn', f'{_ENCODER}.self_attn'),
            ('model.encoder.layers.{}.self_attn_layer_norm', f'{_ENCODER}.norm_self'),
            ('model.encoder.layers.{}.fc{}', f'{_ENCODER}.linear{{}}'),
            ('model.encoder.layers.{}.final_layer_norm', f'{_ENCODER}.norm_ffn'),
            *_attention('model.decoder.layers.{}.self_attn', f'{_DECODER}.self_attn'),
            ('model.decoder.layers.{}.self_attn_layer_norm', f'{_DECODER}.norm_self'),
            *_attention('model.decoder.layers.{}.encoder_attn', f'{_DECODER}.cross_attn'),
            ('model.decoder.layers.{}.encoder_attn_layer_norm', f'{_DECODER}.norm_cross'),
            ('model.decoder.layers.{}.fc{}', f'{_DECODER}.linear{{}}'),
            ('model.decoder.layers.{}.final_layer_norm', f'{_DECODER}.norm_ffn'),
            ('model.decoder.layernorm', 'head.transformer.decoder_norm'),
            ('class_labels_classifier', 'head.fc_cls'),
            ('bbox_predictor.layers.{}', 'head.bbox_mlp.layers.{}'),
            *_MASKS,
        )
    ),
}


def layout_of(names: Mapping[str, object]) -> str | None:
    """Return ``'original'`` or ``'hugging_face'`` by the parameters' names, None for neither."""
    plain = {name.removeprefix('detr.') for name in names}
    if 'class_embed.weight' in plain:
        return 'original'
    return 'hugging_face' if 'class_labels_classifier.weight' in plain else None


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the packed projections of attentions, ``*.in_proj_weight``, into ``*.query_proj.weight`` and so on."""
    unpacked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        attention, packed, kind = name.rpartition('.in_proj_')
        if packed and tensor.ndim and len(tensor) % 3 == 0:
            for part, chunk in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                unpacked[f'{attention}.{part}_proj.{kind}'] = chunk
        else:
            unpacked[name] = tensor
    return unpacked
