"""``BaseHead``: the base of all heads, with what training needs to know about a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor

from detkit.contracts import check_attributes, check_loss, misfit
from detkit.registry import LOSSES, Registry
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, nearest

from ..base_module import BaseModule

# The kinds of what ``test_cfg`` holds, by key; what is not here takes anything, such as a user's own keys.
_TEST_KINDS: dict[str, Any] = {
    **dict.fromkeys(('score_thr', 'iou_thr', 'panoptic_score_thr', 'panoptic_min_area'), int | float),
    **dict.fromkeys(('nms_pre', 'max_per_img'), int),
    **dict.fromkeys(('multi_label', 'class_agnostic', 'retina_masks', 'greedy'), bool),
}


class BaseHead(BaseModule):
    """Base of heads.

    A child writes ``forward``, ``loss``, ``decode`` and ``results``.

    Attributes:
        loss_reduction: 'sum' where the losses are sums over the images of a batch, 'mean' where they are means.
        nominal_batch_size: the losses are also divided by this number.
        class_rows: layers whose output channels belong to classes, beside convolutions and linear layers with 'cls' in
            their name: layer -> (number of groups of channels, channels at a group's beginning and at its end that all
            classes share), and a fourth number where a class has several adjacent channels, as such are counted then.
            With it weights can be loaded into a model of other classes.
        takes: argument that holds a part -> the protocol that the part must follow, see ``detkit.protocols``.
        default_parts: argument that holds a part -> the config of the part where the argument is None.
        needs_gt: whether ``forward`` takes the ground truth as ``gt`` where losses are wanted, for queries of it.
        pads_gt: whether losses depend on the padding of the ground truth, on which the processes of a step then agree.
        needs_texts: whether ``forward`` takes the embeddings of the classes' names as ``texts``.
        provides: what it predicts and learns, in the words of ``GatheredMetric.needs``; empty where unknown.
        has_whole_cells: whether the sides of its images must be multiples of its strides.
        few_steps_from_random: steps of the optimiser below which little is learnt from random weights.
        added_parts: children that a simpler head lacks, so that its checkpoints may lack them, too.
        TEST_KEYS: the keys that ``test_cfg`` may have; empty where unknown.
        SUPPRESSION: how duplicates are suppressed, where an exported file may do it: 'iou', 'prob_iou', or 'none' for a
            set without duplicates; None where that is unknown.
        MULTI_LABEL: whether predictions report a prior with each class above the threshold, or with its best one alone.
        CAPPED_BY_PRIORS: whether an image has no more predictions than priors, although each may have several classes.
        HALF_GRAPH: whether the graph of an exported file may compute in half precision.
        SELECTS: whether the network goes on with the cells of the highest scores, see ``ExportFormat.selects``.
        RANKS: whether decoding compares scores with the best ones, see ``ExportFormat.ranks``.
        NO_EXPORT: why the network cannot be exported; empty where it can.
    """

    loss_reduction: str = 'sum'
    nominal_batch_size: int = 1
    class_rows: Mapping[str, tuple[int, ...]] = {}
    query_tables: Mapping[str, str | None] = {}
    needs_gt: bool = False
    pads_gt: bool = False
    needs_texts: bool = False
    provides: tuple[str, ...] = ()
    has_whole_cells: bool = False
    takes: ClassVar[Mapping[str, type]] = {}
    default_parts: ClassVar[Mapping[str, dict]] = {}
    few_steps_from_random: int = 300
    added_parts: tuple[str, ...] = ()
    TEST_KEYS: tuple[str, ...] = ()
    SUPPRESSION: str | None = None
    MULTI_LABEL: bool = False
    CAPPED_BY_PRIORS: bool = False
    HALF_GRAPH: bool = True
    SELECTS: bool = False
    RANKS: bool = False
    NO_EXPORT: str = ''

    def loss_divisor(self, batch_size: int) -> float:
        """Return the number by which the losses are divided to be means over the images of a batch."""
        return 1 if self.loss_reduction == 'mean' else batch_size / self.nominal_batch_size

    def decode(self, preds: dict[str, Tensor | list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return what raw predictions mean, in tensor arithmetic alone, which is the part that an exported file holds.

        Args:
            preds: the output of ``forward``.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding, which heads whose boxes are relative to the
                image need.

        Returns:
            Tensors in float32 or finer whose first axis is the batch, with coordinates in pixels of the network's
            input.
        """
        raise NotImplementedError

    def level_scores(self, preds: dict[str, Tensor | list[Tensor]]) -> tuple[list[Tensor], int] | None:
        """Return the scores that ``decode`` chooses by, where it leaves out all but the best ones of each level.

        The check of an exported file needs them: of two that differ by rounding, another runtime may choose the other.

        Args:
            preds: the output of ``forward``.

        Returns:
            The scores ``(B, P_i, C)`` of each level before any is left out, and how many of a level remain; None where
            all remain.
        """
        return None

    def query_scores(self, preds: dict[str, Tensor | list[Tensor]]) -> Tensor | None:
        """Return the scores ``(B, Q)`` by which ``forward`` selected the cells that its queries begin at.

        They are needed as those of ``level_scores`` are. None where none was left out, or where they are unknown.
        """
        return None

    def selecting_in(self, order: Tensor | None) -> AbstractContextManager | None:
        """Return a context in which ``forward`` takes the selected cells in another order, ``(B, Q)`` int64.

        The check of an exported file needs it, whose cells of equal scores may have other ranks. None where the order
        of the queries does not change their results.
        """
        return None

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return a data sample for each image, in pixels of the original images; nothing here depends on weights.

        Args:
            decoded: the output of ``decode``, on any device.
            metas: for each image ``matrix`` and ``ori_shape``, see ``DetDataSample``.
        """
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, preds: dict[str, Tensor | list[Tensor]], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return the results of raw predictions: ``results(decode(preds))``, in float32 or finer.

        Args:
            preds: the output of ``forward``.
            metas: see ``results``; heads that need the size of the images also read ``img_shape``.
        """
        device = device_of(preds)
        with torch.autocast(device.type, enabled=False):
            return self.results(self.decode(preds, stack_img_shapes(metas, device)), metas)

    def require(self, **wired: Sequence[int] | None) -> None:
        """Refuse arguments of the incoming maps that are None, or that differ in length."""
        missing = [name for name, value in wired.items() if value is None]
        if missing:
            raise ValueError(
                f'{type(self).__name__} needs {" and ".join(missing)}. A detector fills them in from the component '
                'before the head; to build the head alone, give them.'
            )
        if len({len(value) for value in wired.values()}) > 1:
            counts = ' but '.join(f'{len(value)} {name}' for name, value in wired.items())
            raise ValueError(f'{type(self).__name__}: {counts}')

    def checked_test_cfg(self, test_cfg: dict | None) -> dict:
        """Return a copy of ``test_cfg``, or an empty dict for None.

        Raises:
            ConfigError: it has a key that is none of ``TEST_KEYS``, or a value of another kind.
        """
        for name in test_cfg or ():
            if name not in self.TEST_KEYS:
                raise ConfigError(
                    f'{type(self).__name__}.test_cfg has no {name!r}; it takes {", ".join(self.TEST_KEYS)}.'
                    f'{nearest(name, self.TEST_KEYS)}'
                )
            value, kinds = test_cfg[name], _TEST_KINDS.get(name)
            if None not in (value, kinds) and (
                not isinstance(value, kinds) or isinstance(value, bool) and kinds is not bool
            ):
                kind = {int: 'a whole number', bool: 'True or False'}.get(kinds, 'a number')
                raise ConfigError(f'{type(self).__name__}.test_cfg: {name} is {value!r}, but must be {kind}')
        return dict(test_cfg or {})

    def build_part(self, registry: Registry, key: str, cfg: dict | None, size: int = 2) -> Any:
        """Build the part that an argument describes.

        Args:
            registry: the registry of the part's kind.
            key: the name of the argument, a key of ``takes``.
            cfg: the argument's value; None takes the config in ``default_parts``.
            size: for a loss, the number of classes, bins, keypoints or prototypes that the head gives it.

        Raises:
            ConfigError: the part does not follow the protocol that the head takes, lacks an attribute of it, or is a
                loss that does not return a scalar.
        """
        cfg = cfg or self.default_parts[key]
        kind = cfg.get('type')
        reason = misfit(type(self), key, registry.get(kind) if isinstance(kind, str) else kind)
        if reason is not None:
            raise ConfigError(reason)
        part = registry.build(cfg)
        if key in self.takes:
            try:
                if registry is LOSSES:
                    check_loss(part, self.takes[key], size)
                else:
                    check_attributes(part, self.takes[key])
            except ConfigError as error:
                raise ConfigError(f'{type(self).__name__}.{key}: {error}') from error
        return part


def device_of(preds: Mapping[str, Tensor | list[Tensor]]) -> torch.device:
    """Return the device of raw predictions."""
    value = next(iter(preds.values()))
    return (value[0] if isinstance(value, list) else value).device


def stack_img_shapes(metas: Sequence[dict], device: torch.device) -> Tensor | None:
    """Return the sizes ``(B, 2)`` (h, w) of the images in a padded batch; None where one of them does not say its."""
    if any('img_shape' not in meta for meta in metas):
        return None
    return torch.tensor([meta['img_shape'][:2] for meta in metas], device=device).view(-1, 2)


def widened(tensor: Tensor) -> Tensor:
    """Return a half-precision tensor as float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
