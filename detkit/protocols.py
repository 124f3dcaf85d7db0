"""The contracts of a model's parts, and of trackers.

A head states in ``takes`` which protocol each of its parts follows, and a part names the protocols that it follows as
parents: ``class MyLoss(nn.Module, BoxLoss)``. The two are compared when a config is loaded and when a head is built,
see ``detkit.contracts``. B images of at most M objects, P priors, C classes, S slots, K candidates an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

    from detkit.structures.data_sample import DetDataSample
    from detkit.structures.gt_batch import GtBatch
    from detkit.structures.targets import AssignResult, Candidates, SampledPriors

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
        needs_gt: whether the call takes the ground truth as ``gt`` in training, for queries that are made of it.
        needs_texts: whether the call takes the embeddings of the classes' names as ``texts (C, D)``.
    """

    takes: ClassVar[Mapping[str, type]]
    needs_gt: bool = False
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


class EdgeDecoder(Protocol):
    """A ``QueryDecoder`` whose layers also make a distribution of each edge of a box, without groups.

    Attributes:
        embed_dims: C, length of the vectors.
        num_layers: L.
        bin_scale: what the bins of the distributions stand for.
    """

    embed_dims: int
    num_layers: int
    bin_scale: Any

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


# ---- Priors


class PriorGenerator(Protocol):
    """Makes the priors of feature maps.

    Attributes:
        strides: pixels per cell of each map, fine to coarse.
    """

    strides: tuple[int, ...]

    def __call__(
        self, sizes: Sequence[tuple[int, int]], device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
    ) -> Any:
        """Return the priors of maps of the given (h, w), in the form that the head and its assigner agree on."""
        ...


# ---- Assigners


class Assigner(Protocol):
    """Chooses the priors that learn each box, without gradients."""

    def __call__(self, preds: Candidates, priors: Any, gt: GtBatch) -> AssignResult:
        """Return the slots of every box of the batch, which may hold no box at all."""
        ...


class PointAssigner(Assigner, Protocol):
    """Assigns points: candidates with C logits and boxes xyxy in pixels, ``PointPriors``; the result has scores."""


class RotatedPointAssigner(Assigner, Protocol):
    """Assigns points to ``gt.rbboxes`` in the way of ``PointAssigner``, with rotated candidates ``(B, P, 5)``."""


class AnchorAssigner(Assigner, Protocol):
    """Assigns the anchors of one level, ``AnchorPriors``, by their shapes; it needs no candidates."""

    min_quality: float

    def shape_quality(self, sizes_wh: Tensor, shapes_wh: Tensor) -> Tensor:
        """Return how well anchors ``(A, 2)`` fit boxes ``(…, 1, 2)``, in [0, 1]: ``(…, A)``."""
        ...


class BoxAssigner(Assigner, Protocol):
    """Chooses the object of every prior, which is a box; it needs no candidates."""

    def __call__(self, preds: Candidates, priors: Tensor, gt: GtBatch) -> Tensor:
        """Return ``(B, P)`` int64: the object's index, -1 for background, -2 for a prior that learns nothing.

        Args:
            preds: unused.
            priors: ``(P, 4)`` xyxy in pixels, or ``(B, P, 4)`` where every image has its own.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        ...


class LevelPointAssigner(Assigner, Protocol):
    """Chooses the object of every point, ``PointPriors``, by the level that it belongs to; it needs no candidates."""

    def __call__(self, preds: Candidates, priors: Any, gt: GtBatch) -> Tensor:
        """Return ``(B, P)`` int64: the object's index, or -1 for background."""
        ...


class PriorSampler(Protocol):
    """Chooses some of the priors, whose losses stand for those of all."""

    def __call__(self, gt_idx: Tensor) -> SampledPriors:
        """Return the chosen priors of the result ``(B, P)`` of a ``BoxAssigner``."""
        ...


class QueryAssigner(Assigner, Protocol):
    """Matches queries: logits and boxes cxcywh relative to the image, of any leading axes; no priors.

    The logits are of C classes, or with one more at the end for 'no object'.
    """


class RotatedQueryAssigner(Assigner, Protocol):
    """Matches queries to ``gt.rbboxes`` in the way of ``QueryAssigner``, with rotated boxes relative to the image."""


class MatchCost(Protocol):
    """Cost of giving an object to a query.

    Attributes:
        weight: its factor.
        box_dims: the numbers of a box, 4 for upright and 5 for rotated boxes, that it takes.
    """

    weight: float
    box_dims: tuple[int, ...] = (4,)

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Return ``(..., B, Q, M)``; see ``detkit.models.assigners.match_costs``."""
        ...


# ---- Coders


class DistanceCoder(Protocol):
    """Boxes xyxy as the distances from a point to the four sides, each a distribution over bins."""

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def mean_distances(self, bbox_preds: Tensor) -> Tensor: ...


class RotatedCoder(Protocol):
    """Rotated boxes as the distances of ``DistanceCoder`` along the sides of the box, and its angle."""

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(
        self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0, angles: Tensor | None = None
    ) -> Tensor: ...
    def mean_distances(self, bbox_preds: Tensor) -> Tensor: ...
    def angles(self, angle_logits: Tensor) -> Tensor: ...


class AnchorCoder(Protocol):
    """Boxes xyxy as shift and ratio of an anchor."""

    def encode(self, points: Tensor, sizes_wh: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(self, points: Tensor, sizes_wh: Tensor, bbox_preds: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...


class DeltaCoder(Protocol):
    """Boxes xyxy as shift and ratio of a prior, which is a box: ``(..., 4)`` each."""

    def encode(self, priors: Tensor, bboxes: Tensor) -> Tensor: ...
    def decode(self, priors: Tensor, bbox_preds: Tensor) -> Tensor: ...


class ImageCoder(Protocol):
    """Boxes xyxy in pixels as cxcywh relative to the image."""

    def encode(self, bboxes: Tensor, img_shapes: Tensor) -> Tensor: ...
    def decode(self, bboxes_cxcywh: Tensor, img_shapes: Tensor) -> Tensor: ...


class RotatedImageCoder(Protocol):
    """Rotated boxes in pixels as rotated boxes with centre and sides relative to the image."""

    def encode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor: ...
    def decode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor: ...


# ---- Regions


class RoIExtractor(Protocol):
    """Cuts regions out of feature maps; it is constructed with ``strides``, those of all maps.

    Attributes:
        out_size: sides s of the result, in cells.
    """

    out_size: int

    def __call__(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> Tensor:
        """Return ``(R, C, s, s)`` of maps ``(B, C, h_i, w_i)`` for the regions ``(R_b, 4)`` xyxy of each image."""
        ...


# ---- Losses


class Loss(Protocol):
    """A term of the training loss; ``loss_weight`` is its factor."""

    loss_weight: float

    def __call__(
        self, pred: Any, target: Any, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return a scalar: the sum of the weighted losses divided by ``avg_factor``, times ``loss_weight``.

        Args:
            pred: the kind's prediction.
            target: the kind's target.
            weight: factor of each loss, 0 where a slot is empty; None counts all alike.
            avg_factor: the divisor; None takes the sum of the weights, see ``detkit.utils.ranks.shared_divisor``.
        """
        ...


class BinaryClassLoss(Loss, Protocol):
    """Logits of any shape, each a yes-or-no question, against ``SparseTargets``; the weight is broadcast."""


class QualityClassLoss(Loss, Protocol):
    """Logits of any shape, each a yes-or-no question, against ``QualityTargets``; the weight is broadcast."""


class ClassLoss(Loss, Protocol):
    """Logits ``(N, C)``, of which one is right, against labels ``(N,)`` int64; weight ``(N,)``."""


class BoxLoss(Loss, Protocol):
    """Boxes ``(..., 4)`` xyxy against boxes; weight ``(...)``."""


class OverlapLoss(BoxLoss, Protocol):
    """A ``BoxLoss`` of overlaps, which the head also uses by themselves."""

    def overlaps(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the overlap of each box with its target, at most 1: ``(...)``."""
        ...

    def from_overlaps(
        self, overlaps: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss of boxes whose overlaps are known."""
        ...


class CoordinateLoss(Loss, Protocol):
    """Boxes ``(..., 4)`` in any one form against boxes; weight ``(...)``."""


class RotatedBoxLoss(Loss, Protocol):
    """Rotated boxes ``(..., 5)`` against rotated boxes; weight ``(...)``."""


class AngleLoss(Loss, Protocol):
    """Angles ``(...)`` in radians against rotated boxes ``(..., 5)`` of positive sides; weight ``(...)``."""


class DistributionLoss(Loss, Protocol):
    """Logits ``(S, 4, bins)`` of distances against distances ``(S, 4)`` in [0, bins - 1); weight ``(S,)``."""


class DistributionTeacherLoss(Loss, Protocol):
    """Logits ``(S, 4, bins)`` of distances against a teacher's logits of that shape; weight ``(S,)``."""


class PrototypeMaskLoss(Loss, Protocol):
    """``PrototypeMasks`` against ``BoxMasks``; weight ``(B, S)``."""


class PixelMaskLoss(Loss, Protocol):
    """Logits ``(N, P)`` of the P pixels of N masks against numbers in [0, 1]; weight ``(N,)``."""


class KeypointPositionLoss(Loss, Protocol):
    """Keypoints ``(..., K, 2)`` against ``KeypointTargets``; weight ``(...)``."""


class KeypointClassLoss(Loss, Protocol):
    """Logits ``(..., K)`` against bool, whether a keypoint is labelled; weight ``(...)``."""


# ---- Training


class OptimWrapper(Protocol):
    """The optimiser wrapper that a detector's ``train_step`` takes."""

    def optim_context(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        ...

    def update_params(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, and step where it is time to."""
        ...


# ---- Tracking


class Tracker(Protocol):
    """The boxes of frame after frame to tracks. One is made for each video, and for each class that is kept apart.

    It is constructed with ``frame_rate``, the frames a second, and its own arguments.
    """

    def update(self, bboxes: np.ndarray, scores: np.ndarray, img: np.ndarray, seconds: float) -> np.ndarray:
        """Return the track that each box of the next frame belongs to.

        Args:
            bboxes: ``(N, 4)`` float32 xyxy.
            scores: ``(N,)`` float32.
            img: the frame, ``(H, W, 3)`` uint8 RGB.
            seconds: its time, later than that of the frame before.

        Returns:
            ``(N,)`` int64, numbers of tracks, which are this tracker's own; -1 for a box of none.
        """
        ...
