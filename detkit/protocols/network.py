"""The contracts of the parts of a network: what images go through to become predictions.

B images, P priors, Q queries, C classes, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch

# ---- Networks


class Backbone(Protocol):
    """Images to feature maps.

    Attributes:
        out_channels: channels of each map that it returns, fine to coarse.
        out_strides: pixels of the image per cell of each map.
    """

    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return a ``(B, out_channels[i], h_i, w_i)`` map for each level, of images ``(B, 3, H, W)``."""
        ...


class Neck(Protocol):
    """Feature maps to feature maps; the strides are those of the incoming maps where ``out_strides`` is absent.

    Attributes:
        out_channels: channels of each map that it returns, fine to coarse.
        pads_gt: whether losses depend on the padding of the ground truth, on which the processes of a step then agree.
        needs_texts: whether the call takes the embeddings of the classes' names as ``texts (C, D)``.
    """

    out_channels: tuple[int, ...]
    needs_texts: bool = False

    def __call__(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return a ``(B, out_channels[i], h_i, w_i)`` map for each level."""
        ...


class Head(Protocol):
    """Feature maps to predictions, losses and results.

    Attributes:
        takes: argument that holds a part -> the protocol that the part must follow.
        needs_gt: whether the call takes the ground truth as ``gt`` where losses are wanted, for queries of it.
        needs_texts: whether the call takes the embeddings of the classes' names as ``texts (C, D)``.
    """

    takes: ClassVar[Mapping[str, type]]
    needs_gt: bool = False
    pads_gt: bool = False
    needs_texts: bool = False

    def __call__(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Return raw predictions, of the same names and shapes in training and evaluation."""
        ...

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return scalars; those whose names begin with ``loss_`` are added up and trained on."""
        ...

    def predict(self, preds: dict[str, Tensor | list[Tensor]], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return a sample for each image, in pixels of the original image."""
        ...


class DecodingHead(Head, Protocol):
    """A head that can be exported: ``predict(preds, metas)`` is ``results(decode(preds, img_shapes), metas)``."""

    def decode(self, preds: dict[str, Tensor | list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return what raw predictions mean, in tensor arithmetic alone.

        Args:
            preds: the output of the head.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding.

        Returns:
            Tensors whose first axis is the batch, with coordinates in pixels of the network's input. Dense heads return
            ``bboxes (B, P, 4)`` xyxy, or ``rbboxes (B, P, 5)``, and ``scores (B, P, C)``, ``mask_coeffs (B, P, D)`` and
            ``mask_protos (B, D, h, w)``, ``keypoints (B, P, K, 3)``; heads of queries ``bboxes``, ``scores`` and
            ``mask_logits (B, Q, h, w)``; classifiers ``scores (B, C)``.
        """
        ...

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return a sample for each image, in pixels of the original image, without any weights."""
        ...


class DualAssignmentHead(Head, Protocol):
    """A head that learns by two assignments, one-to-many and one-to-one, whose losses it weighs against each other.

    Attributes:
        many_weight: weight in [0, 1] of the one-to-many losses; that of the others is the rest of 1. It may change
            between epochs, as ``LossShareHook`` does.
    """

    many_weight: float


class DataPreprocessor(Protocol):
    """Batches as ``collate`` makes them to what the network takes."""

    def __call__(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``inputs`` float ``(B, 3, H, W)``, ``gt`` and ``data_samples``, the latter two None where absent."""
        ...


class Detector(Protocol):
    """A whole network.

    Attributes:
        data_preprocessor: what makes ``inputs`` and ``gt`` of a batch.
    """

    data_preprocessor: DataPreprocessor

    def __call__(
        self,
        inputs: Tensor,
        gt: GtBatch | None = None,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Return the head's predictions, for the mode 'loss' its losses, for 'predict' a sample for each image."""
        ...


# ---- Layers


class Block(Protocol):
    """A stage's block, built with ``in_channels``, ``out_channels`` and ``num_blocks``."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``(B, out_channels, h, w)`` of ``(B, in_channels, h, w)``."""
        ...


class Downsample(Protocol):
    """A layer that halves a map, built with ``in_channels`` and ``out_channels``."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``(B, out_channels, ceil(h / 2), ceil(w / 2))`` of ``(B, in_channels, h, w)``."""
        ...


class TextBlock(Protocol):
    """A stage's block that takes texts, built with ``in_channels``, ``out_channels``, ``num_blocks``, ``text_dims``."""

    def __call__(self, x: Tensor, texts: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels, h, w)`` of ``(B, in_channels, h, w)`` and texts ``(T, D)`` or ``(B, T, D)``."""
        ...


class PositionEncoding(Protocol):
    """Vectors for the positions of a feature map's cells.

    Attributes:
        embed_dims: C, length of a vector.
    """

    embed_dims: int

    def __call__(self, feats: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return ``(B or 1, C, h, w)`` for maps ``(B, channels, h, w)``; the mask is ``(B, h, w)``, True if padded."""
        ...


class Transformer(Protocol):
    """The cells of a feature map and object queries to a vector for each query.

    Attributes:
        embed_dims: C, length of the vectors.
        num_heads: heads of an attention.
    """

    embed_dims: int
    num_heads: int

    def __call__(
        self, cells: Tensor, positions: Tensor, queries: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the encoded cells ``(B, S, C)`` and the queries' vectors after each decoder layer ``(L, B, Q, C)``.

        Args:
            cells: ``(B, S, C)``.
            positions: ``(B or 1, S, C)``, the encoding of the cells' positions.
            queries: ``(Q, C)``.
            padding_mask: ``(B, S)`` bool, True where padded.
        """
        ...


class QueryDecoder(Protocol):
    """Queries with boxes to a vector and a refined box for each, after every layer.

    It is constructed with ``num_levels``, the number of feature maps, beside its own arguments; a head of rotated boxes
    also gives ``rotated=True``, after which boxes have an angle as fifth number.

    Attributes:
        embed_dims: C, length of the vectors.
        num_layers: L.
    """

    embed_dims: int
    num_layers: int

    def __call__(
        self,
        content: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
        num_groups: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Return vectors ``(L, B, Q, C)`` and boxes ``(L, B, Q, 4)``; evaluation may have fewer layers.

        Args:
            content: ``(B, Q, C)``.
            bboxes: ``(B, Q, 4)`` cxcywh relative to the image.
            memory: ``(B, S, C)``, the cells of all maps, the finest first, each row by row.
            sizes: (h, w) of each map.
            query_mask: ``(Q, Q)`` bool, True where a query (row) may look at another (column); None for all. With G
                groups ``(Q / G, Q / G)``.
            num_groups: G; the queries are G groups of equal size that do not attend to each other.
        """
        ...


class EdgeBins(Protocol):
    """What the bins of the distributions of an ``EdgeDecoder`` stand for.

    Attributes:
        reg_max: the number of bins, less one.
    """

    reg_max: int

    def bins(self, bboxes: Tensor, targets: Tensor) -> Tensor:
        """Return where between the bins the edges of boxes ``(N, 4)`` xyxy are, seen from cxcywh: ``(N, 4)``."""
        ...

    def turned_bins(self, bboxes: Tensor, targets: Tensor, size: Sequence[Tensor]) -> Tensor:
        """Return ``bins`` for boxes ``(N, 5)`` with an angle, relative to images of the size (h, w), each ``(N,)``."""
        ...


class EdgeDecoder(Protocol):
    """A ``QueryDecoder`` whose layers also make a distribution of each edge of a box, without groups.

    Attributes:
        embed_dims: C, length of the vectors.
        num_layers: L.
        bin_scale: what the bins of the distributions stand for.
    """

    embed_dims: int
    num_layers: int
    bin_scale: EdgeBins

    def __call__(
        self,
        content: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return vectors, boxes, logits of edges ``(L, B, Q, 4, bins)`` and the boxes that edges start from.

        The arguments and the first two results are those of ``QueryDecoder``; the last is ``(B, Q, 4)``.
        """
        ...


# ---- Texts


class TextEncoder(Protocol):
    """Names of classes to vectors that an open-vocabulary detector compares images with.

    Attributes:
        dims: D, length of a vector.
    """

    dims: int

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Return vectors of length 1, ``(len(names), D)`` float32 on the CPU; the same for a name in every call."""
        ...
