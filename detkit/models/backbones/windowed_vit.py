"""``WindowedViT``: RF-DETR's backbone, a vision transformer that mostly attends within windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import MultiHeadAttention
from ..layers.feedforward import feedforward
from ..layers.linear import Linear
from .pretrained import load_backbone, read_weights

# B images, h x w patches, C embed_dims, W = num_windows² windows, T tokens of a window: its patches and a class token.

_EPS = 1e-6  # of every normalisation
_STD = 0.02  # of the weights before training


@BACKBONES.register_module()
class WindowedViT(BaseModule):
    """Vision transformer of DINOv2 (arXiv:2304.07193) whose blocks attend within windows, but for a few global ones.

    ::

        image ── patches ── + positions ── windows ── block ── … ── block ─┬─ block ── …
                                                                           └─ normalisation ── map

    LW-DETR (arXiv:2406.03459) and RF-DETR (arXiv:2511.09554) use it. All maps have the stride of a patch. An image
    whose sides are no multiples of ``patch_size * num_windows`` is padded with zeros at the right and at the bottom.

    Args:
        embed_dims: C.
        depth: number of blocks.
        num_heads: heads of every attention, a divisor of C.
        mlp_ratio: width between the two linear layers of a block, as a multiple of C.
        patch_size: sides of a patch in pixels.
        num_windows: windows along each side of the image, each with a class token of its own; 1 for none.
        table_size: rows and columns of the table of positions, in patches; images of another size have it resized.
        global_blocks: indices, from 0, of the blocks that attend over all windows.
        out_indices: numbers of blocks, from 1, after which a map is returned; blocks after the last aren't built.
        in_channels: channels of the image.
        frozen_blocks: −1 trains everything; 0 freezes the embedding of patches; n freezes it and the first n blocks.
        weights: a file with initial weights, or None. It is read when weights are initialised, not when a checkpoint is
            to be loaded for prediction.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, which all have the same.
        freeze_parts: the modules that ``train_cfg.freeze=<number>`` counts: the embedding, then each block.
        no_decay: the embedding, whose weights do not decay in training.

    Shapes: ``(B, in_channels, H, W)`` to a tuple of ``(B, C, H / patch_size, W / patch_size)``, sizes rounded up.

    Raises:
        ConfigError: an argument is none of those above.
    """

    no_decay = ('embed.',)

    def __init__(
        self,
        embed_dims: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        patch_size: int = 16,
        num_windows: int = 2,
        table_size: int = 24,
        global_blocks: Sequence[int] = (3, 6, 9),
        out_indices: Sequence[int] = (3, 6, 9, 12),
        in_channels: int = 3,
        frozen_blocks: int = -1,
        weights: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if min(depth, patch_size, num_windows, table_size) < 1:
            raise ConfigError(
                'WindowedViT: depth, patch_size, num_windows and table_size must be at least 1, found '
                f'{depth}, {patch_size}, {num_windows} and {table_size}'
            )
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(1, depth + 1))):
            raise ConfigError(
                f'WindowedViT: out_indices {tuple(out_indices)} must ascend within 1 … {depth}, the depth.'
            )
        if not set(global_blocks) <= set(range(depth)):
            raise ConfigError(f'WindowedViT: global_blocks {tuple(global_blocks)} must lie within 0 … {depth - 1}.')
        if not -1 <= frozen_blocks <= out_indices[-1]:
            raise ConfigError(
                f'WindowedViT: frozen_blocks is {frozen_blocks}; it must lie within -1 (nothing) … {out_indices[-1]} '
                '(the last block that is built).'
            )
        self.patch_size = patch_size
        self.num_windows = num_windows
        self.global_blocks = frozenset(global_blocks)
        self.out_indices = tuple(out_indices)
        self.weights = weights
        self.embed = PatchEmbedding(in_channels, embed_dims, patch_size, table_size)
        self.blocks = nn.ModuleList(ViTBlock(embed_dims, num_heads, mlp_ratio) for _ in range(out_indices[-1]))
        self.norm = nn.LayerNorm(embed_dims, eps=_EPS)
        self.out_channels = (embed_dims,) * len(self.out_indices)
        self.out_strides = (patch_size,) * len(self.out_indices)
        self.freeze_parts = (('embed',), *((f'blocks.{index}',) for index in range(len(self.blocks))))
        for names in self.freeze_parts[: frozen_blocks + 1]:
            for name in names:
                self.get_submodule(name).requires_grad_(False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, std=_STD)
                nn.init.zeros_(layer.bias)

    def init_weights(self) -> None:
        """Load ``weights``, if there are any; otherwise the random initialisation stays."""
        super().init_weights()
        if self.weights is not None:
            load_backbone(self, read_weights(Path(self.weights)), self.weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        sizes = [-(-side // self.patch_size) for side in x.shape[-2:]]  # h, w
        multiple = self.patch_size * self.num_windows
        bottom, right = (-side % multiple for side in x.shape[-2:])
        if bottom or right or torch.jit.is_tracing():  # an exported file may be given other sizes
            x = F.pad(x, (0, right, 0, bottom))
        class_token, patches = self.embed(x)
        grid = patches.shape[1:3]
        patches = self._to_windows(patches)
        # Token 0 is the class token.
        tokens = torch.cat((class_token.expand(patches.shape[0], -1, -1), patches), dim=1)  # (B * W, T, C)
        outputs = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, self.num_windows**2 if index in self.global_blocks else 1)
            if index + 1 in self.out_indices:
                feat = self._from_windows(self.norm(tokens)[:, 1:], grid)
                outputs.append(feat[..., : sizes[0], : sizes[1]])
        return tuple(outputs)

    def _to_windows(self, patches: Tensor) -> Tensor:
        """Cut patches into windows: ``(B, h, w, C)`` -> ``(B * W, T - 1, C)``."""
        n = self.num_windows
        batch, height, width, dims = patches.shape
        windows = patches.reshape(batch, n, height // n, n, width // n, dims).transpose(2, 3)
        return windows.reshape(batch * n * n, height // n * (width // n), dims)

    def _from_windows(self, windows: Tensor, grid: Sequence[int]) -> Tensor:
        """Return the map of patches in windows: ``(B * W, T - 1, C)`` -> ``(B, C, h, w)``, (h, w) being ``grid``."""
        n, dims = self.num_windows, windows.shape[-1]
        height, width = grid[0] // n, grid[1] // n
        patches = windows.reshape(windows.shape[0] // (n * n), n, n, height, width, dims)
        patches = patches.permute(0, 5, 1, 3, 2, 4).reshape(patches.shape[0], dims, grid[0], grid[1])
        return patches.contiguous(memory_format=torch.channels_last)


class PatchEmbedding(nn.Module):
    """Patches of an image as vectors, and a class token, both with their positions added.

    Args:
        in_channels: channels of the image.
        embed_dims: C.
        patch_size: sides of a patch in pixels.
        table_size: rows and columns of the table of positions.

    Attributes:
        mask_token: replaces hidden patches in DINOv2's training; not used here, but weights have it.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int, table_size: int) -> None:
        super().__init__()
        self.table_size = table_size
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.empty(1, 1, embed_dims))
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dims), requires_grad=False)
        self.positions = nn.Parameter(torch.empty(1, 1 + table_size**2, embed_dims))
        nn.init.trunc_normal_(self.class_token, std=_STD)
        nn.init.trunc_normal_(self.positions, std=_STD)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token ``(1, 1, C)`` and the patches ``(B, h, w, C)`` of images ``(B, channels, H, W)``."""
        patches = self.proj(x).permute(0, 2, 3, 1)  # (B, C, h, w) -> (B, h, w, C)
        class_position, table = self.positions.split((1, self.table_size**2), dim=1)
        table = table.unflatten(1, (self.table_size, self.table_size))  # (1, h', w', C)
        table = table.to(torch.promote_types(table.dtype, torch.float32))
        rows, columns = (cubic_weights(self.table_size, size, table) for size in patches.shape[1:3])
        table = torch.einsum('yi,bijc,xj->byxc', rows, table, columns)
        return self.class_token + class_position, patches + table.to(patches.dtype)


def cubic_weights(before: int, after: int, like: Tensor) -> Tensor:
    """Return the matrix ``(after, before)`` that resizes a row by bicubic interpolation with antialiasing.

    It is that of ``F.interpolate(mode='bicubic', antialias=True)``, which no exported file can hold; the identity where
    the sizes are the same.

    Args:
        before, after: lengths of the row.
        like: a tensor of the type and the device.
    """
    options = dict(dtype=like.dtype, device=like.device)
    middles = (torch.arange(after, **options) + 0.5).unsqueeze(1)  # (after, 1)
    # A tensor, so that in an exported file, too, the size of an image decides whether the row shrinks.
    scale = before / torch.ones_like(middles).sum()
    distances = (torch.arange(before, **options) + 0.5 - middles * scale).abs()  # (after, before)
    distances = distances / scale.clamp(min=1.0)
    near = (1.5 * distances - 2.5) * distances**2 + 1
    far = ((-0.5 * distances + 2.5) * distances - 4) * distances + 2
    weights = torch.where(distances < 1, near, torch.where(distances < 2, far, torch.zeros_like(far)))
    return weights / weights.sum(1, keepdim=True)


class ViTBlock(nn.Module):
    """Attention and MLP, each with a normalisation before it and a learnt scale of each channel after it.

    Args:
        embed_dims: C.
        num_heads: heads of the attention.
        mlp_ratio: width between the two linear layers, as a multiple of C.
    """

    def __init__(self, embed_dims: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(embed_dims * mlp_ratio)
        self.norm1 = nn.LayerNorm(embed_dims, eps=_EPS)
        self.attn = MultiHeadAttention(embed_dims, num_heads)
        self.scale1 = nn.Parameter(torch.ones(embed_dims))
        self.norm2 = nn.LayerNorm(embed_dims, eps=_EPS)
        self.linear1 = Linear(embed_dims, hidden)
        self.linear2 = Linear(hidden, embed_dims)
        self.scale2 = nn.Parameter(torch.ones(embed_dims))

    def forward(self, tokens: Tensor, together: int) -> Tensor:
        """Return the tokens ``(B * W, T, C)`` after the block.

        Args:
            tokens: ``(B * W, T, C)``, an image's windows one after the other.
            together: number of consecutive windows that attend to each other.
        """
        normed = self.norm1(tokens).unflatten(0, (-1, together)).flatten(1, 2)  # (B * W / together, together * T, C)
        attended = self.attn(normed, normed, normed).unflatten(1, (together, -1)).flatten(0, 1)
        tokens = torch.addcmul(tokens, attended, self.scale1)
        shrunk = feedforward(self.linear1, F.gelu, self.linear2, self.norm2(tokens))
        return torch.addcmul(tokens, shrunk, self.scale2)
