"""``DETRTransformer``: encodes a feature map and decodes queries to a vector for each."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import Transformer
from detkit.registry import LAYERS

from .attention import MultiHeadAttention
from .conv_module import Activation, build_activation
from .feedforward import feedforward
from .keyed_dropout import KeyedDropout, drops_nothing
from .linear import Linear
from .normalization import build_vector_norm
from .swiglu import SwiGLU

# B images, S = h * w cells of the map, Q queries, C embed_dims, L decoder layers.


class Transformed(NamedTuple):
    """Output of a transformer.

    Attributes:
        memory: ``(B, S, C)``, the encoder's output.
        decoded: ``(L, B, Q, C)``, the normalised output of every decoder layer, the last being the result.
    """

    memory: Tensor
    decoded: Tensor


@LAYERS.register_module()
class DETRTransformer(nn.Module, Transformer):
    """Encoder and decoder of DETR (arXiv:2005.12872).

    Every sublayer is followed by normalisation; positions are added to queries and keys, but not to values, in every
    layer; the decoder's input is zero.

    ::

        cells ── encoder layers ── memory ─────────────────┐
        0 ────── decoder layer ─┬─ decoder layer ─┬─ … ────┤
                              norm              norm     norm ── decoded

    Args:
        embed_dims: C.
        num_heads: heads of every attention, a divisor of C.
        num_encoder_layers, num_decoder_layers: 0 encoder layers leave the map as it is; at least 1 decoder layer.
        feedforward_dims: width between the two linear layers that follow the attentions.
        dropout: share of values that training leaves out, in attentions and after every sublayer.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        feedforward_dims: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if num_encoder_layers < 0 or num_decoder_layers < 1:
            raise ValueError(
                f'DETRTransformer needs at least 0 encoder and 1 decoder layers, found '
                f'{num_encoder_layers} and {num_decoder_layers}'
            )
        if not 0 <= dropout < 1:
            raise ValueError(f'DETRTransformer: dropout must be in [0, 1), found {dropout}')
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        layer = (embed_dims, num_heads, feedforward_dims, dropout)
        self.encoder_layers = nn.ModuleList(EncoderLayer(*layer) for _ in range(num_encoder_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(*layer) for _ in range(num_decoder_layers))
        self.decoder_norm = nn.LayerNorm(embed_dims)

    def forward(
        self, cells: Tensor, positions: Tensor, queries: Tensor, padding_mask: Tensor | None = None
    ) -> Transformed:
        """Encode the map and decode the queries.

        Args:
            cells: ``(B, S, C)``, the map's cells in a row.
            positions: ``(B, S, C)`` or ``(1, S, C)``, the encoding of the cells' positions.
            queries: ``(Q, C)``.
            padding_mask: ``(B, S)`` bool, True where padded, which every attention ignores; None without padding.
        """
        key_mask = None if padding_mask is None else ~padding_mask[:, None, None]  # (B, S) -> (B, 1, 1, S)
        memory = cells
        for layer in self.encoder_layers:
            memory = layer(memory, positions, key_mask)
        keys = memory + positions
        queries = queries.expand(cells.shape[0], -1, -1)  # (Q, C) -> (B, Q, C)
        objects = torch.zeros_like(queries)
        decoded = []
        for layer in self.decoder_layers:
            objects = layer(objects, queries, keys, memory, key_mask)
            decoded.append(self.decoder_norm(objects))
        return Transformed(memory, torch.stack(decoded))


class TransformerLayer(nn.Module):
    """Base of the layers of encoders and decoders: dropout, and the two linear layers at the end.

    Args:
        embed_dims: C.
        feedforward_dims: width between the two linear layers.
        dropout: see ``DETRTransformer``.
        act: activation between the two linear layers, see ``ConvModule``; 'SwiGLU' halves the width.
        norm: normalisation after each part of the layer, 'LN' or 'RMS', see ``build_vector_norm``.
    """

    def __init__(
        self, embed_dims: int, feedforward_dims: int, dropout: float, act: Activation = 'ReLU', norm: str = 'LN'
    ) -> None:
        super().__init__()
        self.act = None if act == 'ReLU' else SwiGLU() if act == 'SwiGLU' else build_activation(act)
        self.dropout = KeyedDropout(dropout)
        self.linear1 = Linear(embed_dims, feedforward_dims)
        width = feedforward_dims // 2 if isinstance(self.act, SwiGLU) else feedforward_dims
        self.linear2 = Linear(width, embed_dims)
        self.norm_ffn = build_vector_norm(norm, embed_dims)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def feedforward(self, x: Tensor) -> Tensor:
        act = F.relu if self.act is None else self.act
        if drops_nothing(self.dropout):
            changed = feedforward(self.linear1, act, self.linear2, x)
        else:
            changed = self.linear2(self.dropout(act(self.linear1(x))))
        return self.norm_ffn(x + self.dropout(changed))


class EncoderLayer(TransformerLayer):
    """Encoder layer, in which cells attend to all cells.

    Args:
        embed_dims, num_heads, feedforward_dims, dropout: see ``DETRTransformer``.
        act: see ``TransformerLayer``.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, feedforward_dims: int, dropout: float, act: Activation = 'ReLU'
    ) -> None:
        super().__init__(embed_dims, feedforward_dims, dropout, act)
        self.self_attn = MultiHeadAttention(embed_dims, num_heads, dropout)
        self.norm_self = nn.LayerNorm(embed_dims)

    def forward(self, cells: Tensor, positions: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return the cells ``(B, S, C)`` after the layer."""
        placed = cells + positions
        cells = self.norm_self(cells + self.dropout(self.self_attn(placed, placed, cells, key_mask)))
        return self.feedforward(cells)


class DecoderLayer(TransformerLayer):
    """Decoder layer, in which objects attend to each other, then to the memory.

    Args:
        embed_dims, num_heads, feedforward_dims, dropout: see ``DETRTransformer``.
    """

    def __init__(self, embed_dims: int, num_heads: int, feedforward_dims: int, dropout: float) -> None:
        super().__init__(embed_dims, feedforward_dims, dropout)
        self.self_attn = MultiHeadAttention(embed_dims, num_heads, dropout)
        self.cross_attn = MultiHeadAttention(embed_dims, num_heads, dropout)
        self.norm_self = nn.LayerNorm(embed_dims)
        self.norm_cross = nn.LayerNorm(embed_dims)

    def forward(
        self, objects: Tensor, queries: Tensor, keys: Tensor, memory: Tensor, key_mask: Tensor | None
    ) -> Tensor:
        """Return objects ``(B, Q, C)``; ``queries`` are ``(B, Q, C)``, ``keys`` and ``memory`` ``(B, S, C)``."""
        placed = objects + queries
        objects = self.norm_self(objects + self.dropout(self.self_attn(placed, placed, objects)))
        attended = self.cross_attn(objects + queries, keys, memory, key_mask)
        return self.feedforward(self.norm_cross(objects + self.dropout(attended)))
