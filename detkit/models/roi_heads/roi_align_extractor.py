"""``RoIAlignExtractor``: features of regions, cut out of the maps of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.protocols import RoIExtractor
from detkit.registry import ROI_EXTRACTORS

from .pyramid_roi_align import pyramid_roi_align

# Added to a region's level before it is rounded down, as torchvision does.
_EPS = 1e-6


@ROI_EXTRACTORS.register_module()
class RoIAlignExtractor(nn.Module, RoIExtractor):
    """Extractor by RoIAlign (Mask R-CNN, arXiv:1703.06870), from the map that fits a region's size.

    A region as large as ``canonical_size`` is taken from the map of stride 16, one of twice the side from that of
    stride 32, and so on (FPN, arXiv:1612.03144, equation 1).

    Args:
        out_size: sides of the result, in cells.
        strides: those of all incoming maps, fine to coarse; wired.
        max_stride: maps of greater strides are not used, unless all are.
        sampling_ratio: points along each side of a cell.
        canonical_size: the side in pixels.
    """

    def __init__(
        self,
        out_size: int = 7,
        strides: Sequence[int] | None = None,
        max_stride: int = 32,
        sampling_ratio: int = 2,
        canonical_size: float = 224.0,
    ) -> None:
        super().__init__()
        if not strides:
            raise ValueError('RoIAlignExtractor needs strides. A detector fills them in; to build it alone, give them.')
        if min(out_size, max_stride, canonical_size) <= 0:
            raise ValueError('RoIAlignExtractor: out_size, max_stride and canonical_size must be above 0')
        self.out_size = out_size
        self.strides = tuple(stride for stride in strides if stride <= max_stride) or tuple(strides[:1])
        self.sampling_ratio = sampling_ratio
        self.canonical_size = canonical_size

    def forward(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> Tensor:
        """Return ``(R, C, out_size, out_size)`` for all regions, image by image.

        Args:
            feats: a ``(B, C, h_i, w_i)`` map for each level.
            bboxes: the regions ``(R_b, 4)`` of each image, xyxy in pixels of the network's input.
        """
        regions = torch.cat(
            [torch.cat([own.new_full((len(own), 1), image), own], 1) for image, own in enumerate(bboxes)]
        )
        if self._sums_rows(feats[0]):
            regions = regions.to(torch.promote_types(feats[0].dtype, torch.float32))
            feats, level = feats[: len(self.strides)], self.level_of(regions[:, 1:])
            return pyramid_roi_align(feats, regions, level, self.out_size, self.strides, self.sampling_ratio)
        # torchvision's RoIAlign has no half-precision kernel on CPUs.
        feats = [feat.float() if feat.dtype in (torch.float16, torch.bfloat16) else feat for feat in feats]
        regions = regions.to(feats[0].dtype)
        if len(self.strides) == 1:
            return self._align(feats[0], regions, self.strides[0])
        level = self.level_of(regions[:, 1:])
        # By level, and back: each region is copied twice, and not once for each level, nor is its gradient.
        order = level.argsort(stable=True)
        counts = torch.bincount(level, minlength=len(self.strides)).tolist()
        parts = [
            self._align(feat, own, stride)
            for feat, own, stride in zip(feats, regions[order].split(counts), self.strides, strict=False)
            if len(own)
        ]
        if not parts:
            return feats[0].new_zeros(0, feats[0].shape[1], self.out_size, self.out_size)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        return torch.cat(parts).index_select(0, places)

    def level_of(self, bboxes: Tensor) -> Tensor:
        """Return the index ``(R,)`` of the map that each region ``(R, 4)`` is taken from."""
        areas = (bboxes[:, 2:] - bboxes[:, :2]).clamp(min=0).prod(1)
        octave = torch.floor(4 + torch.log2(areas.sqrt() / self.canonical_size) + _EPS)  # 4 is that of stride 16
        octaves = torch.tensor(self.strides, dtype=octave.dtype).log2().floor().to(octave.device)
        octave = octave.clamp(octaves[0], octaves[-1])
        return (octaves < octave.unsqueeze(1)).sum(1)  # of maps with one stride the first

    def _sums_rows(self, feat: Tensor) -> bool:
        """Tell whether ``pyramid_roi_align`` takes a map; torchvision's operator is that of exported graphs."""
        return (
            feat.device.type == 'cpu'
            and feat.dtype is not torch.float16
            and self.sampling_ratio > 0
            and not torch.jit.is_tracing()
            and not torch.compiler.is_compiling()
        )

    def _align(self, feat: Tensor, regions: Tensor, stride: int) -> Tensor:
        from torchvision.ops import roi_align  # whose import takes as long as PyTorch's; a CPU needs it in exports

        return roi_align(feat, regions, self.out_size, 1 / stride, self.sampling_ratio)
