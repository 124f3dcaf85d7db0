"""``BaseDetector``: a backbone, necks and a head, through which a batch passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from detkit.protocols import Detector, OptimWrapper
from detkit.registry import DATA_PREPROCESSORS, is_own
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError
from detkit.utils.ranks import shared_maximum

from ..base_module import BaseModule
from ..layers import set_batch_norm
from ..wiring import build_backbone, build_head, build_necks, check_feats, check_losses, refuse_empty_layers
from .finished import finish_results

Preds = dict[str, Tensor | list[Tensor]]


@dataclass(frozen=True)
class ModelInfo:
    """The origin of a loaded detector; nothing in it changes what the network computes.

    Attributes:
        config: the config that it was built from.
        classes: the class names, by label.
        keypoints: names, sigmas, skeleton and flip pairs of its keypoints; empty without keypoints.
        licence: the licence of the weights, or of those that they were trained from, where that is known.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    keypoints: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ''


class BaseDetector(BaseModule, Detector):
    """Base of detectors and classifiers: image to predictions in one pass.

    Args:
        backbone: config; its class states ``out_channels`` and ``out_strides``.
        neck: config of one part, a list of parts that run in order, or None.
        head: config; ``in_channels`` and ``strides`` are wired, as the necks' are.
        data_preprocessor: config; ``DetDataPreprocessor`` with its default arguments when left out.
        batch_norm: ``dict(eps=…, momentum=…)`` for every batch normalisation of the model; None leaves each as its
            component makes it. Darknet and YOLOv8's classifiers have other values than YOLOv8's detectors.
        init_cfg: mmengine's initialisation config.

    Attributes:
        info: the model's config, classes and keypoints, where ``init_detector`` loaded it.
        truth: the field of the ground truth that ``predict`` copies from the data samples to its results.
        classifies: whether it classifies whole images.
        needs_img_shapes: whether the results depend on the sizes of the images before padding, as they do where the
            preprocessor sets the padding to 0.
        input_size: (h, w) that every input has; None where inputs may differ.
        is_exported: whether a runtime runs its network, which cannot be trained.
        takes_amp: whether it computes in mixed precision inside autocast.
        holds_texts: whether it has texts for the necks and heads that need them.
        own_tensors: tensors that the config decides, and that weights of another model do not replace.
        compiled_network: what stands for ``raw_predictions`` where losses are asked for; None for that itself.

    Raises:
        ConfigError: ``batch_norm`` has another key, components do not fit each other, or a layer has no channels.
    """

    truth: str = 'gt_instances'
    classifies: bool = False
    needs_img_shapes: bool = False
    input_size: tuple[int, int] | None = None
    is_exported: bool = False
    takes_amp: bool = True
    holds_texts: bool = False
    own_tensors: tuple[str, ...] = ()

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | list[dict] | None = None,
        data_preprocessor: dict | None = None,
        batch_norm: dict[str, float] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = DATA_PREPROCESSORS.build(data_preprocessor or dict(type='DetDataPreprocessor'))
        # Images are RGB from the file to the network, but for a preprocessor of a user's own.
        self.backbone, output = build_backbone(backbone, None if is_own(type(self.data_preprocessor)) else 3)
        self.neck, output = build_necks(neck, output)
        self.head = build_head(head, output)
        self._refuse_texts()
        refuse_empty_layers(self)
        self.info = ModelInfo()
        self.compiled_network: Callable[..., Preds] | None = None
        set_batch_norm(self, batch_norm or {})
        on_meta = any(param.is_meta for param in self.parameters())  # where no layout counts
        self.needs_img_shapes |= getattr(self.data_preprocessor, 'zero_padding', False)
        if getattr(self.data_preprocessor, 'channels_last', False) and not on_meta:
            self.to(memory_format=torch.channels_last)

    def _refuse_texts(self) -> None:
        """Raise ``ConfigError`` for parts that need texts, where the detector has none."""
        for part in () if self.holds_texts else (*(self.neck or ()), self.head):
            if getattr(part, 'needs_texts', False):
                raise ConfigError(
                    f'{type(part).__name__} needs the embeddings of texts, which {type(self).__name__} does not have; '
                    "write model.type='OpenVocabularyDetector'"
                )

    def reparameterized(self) -> BaseDetector:
        """Return a detector of the same results that is faster in prediction; by default this one."""
        return self

    def check_thresholds(self) -> None:
        """Raise ``ConfigError`` for thresholds that the network cannot follow; in PyTorch it follows all."""

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps, fine to coarse, of images ``(B, 3, H, W)``."""
        feats = check_feats(self.backbone(inputs), self.backbone, 'backbone')
        for neck in self.neck or ():
            feats = check_feats(self.apply_neck(neck, feats), neck, 'neck')
        return feats

    def apply_neck(self, neck: nn.Module, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what a neck makes of feature maps, fine to coarse."""
        return neck(feats)

    def apply_head(self, feats: tuple[Tensor, ...], padding_mask: Tensor | None, gt: GtBatch | None) -> Preds:
        """Return the raw predictions of the head; ``gt`` is None unless it needs the ground truth."""
        return self.head(feats, padding_mask) if gt is None else self.head(feats, padding_mask, gt)

    def forward(
        self,
        inputs: Tensor,
        gt: GtBatch | None = None,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Preds | list[DetDataSample]:
        """Run the network on normalised images ``(B, 3, H, W)``.

        Args:
            inputs, gt, data_samples: what the data preprocessor returns.
            mode: ``'tensor'`` returns the head's raw predictions, ``'loss'`` a dict of losses (needs ``gt``),
                ``'predict'`` a data sample for each image, in pixels of the original image (needs ``data_samples``).
        """
        padding_mask = self.padding_mask(inputs, gt, data_samples, mode)
        network = self.compiled_network if mode == 'loss' and self.compiled_network is not None else raw_predictions
        if mode == 'loss' and getattr(self.head, 'pads_gt', False):
            gt = gt.padded_to(shared_maximum(gt.max_instances))
        if mode == 'loss' and getattr(self.head, 'needs_gt', False):
            preds = network(self, inputs, padding_mask, gt)
        else:
            preds = network(self, inputs, padding_mask)
        if mode == 'tensor':
            return preds
        if mode == 'loss':
            return check_losses(self.head.loss(preds, gt), self.head)
        if mode == 'predict':
            return self.predict(preds, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', not {mode!r}")

    def train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Train on a batch that ``collate`` made; return its losses, their sum as ``loss``."""
        with optim_wrapper.optim_context(self):
            losses = self(**self.data_preprocessor(data, True), mode='loss')
        loss, values = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return values

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Predict on a batch that ``collate`` made."""
        return self(**self.data_preprocessor(data, False), mode='predict')

    val_step = test_step

    @staticmethod
    def parse_losses(losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the losses, and all values as scalars, the sum as ``loss`` before them."""
        values = {name: value.mean() for name, value in losses.items()}
        loss = sum(value for name, value in values.items() if 'loss' in name)
        return loss, {'loss': loss, **values}

    def padding_mask(
        self, inputs: Tensor, gt: GtBatch | None, data_samples: list[DetDataSample] | None, mode: str
    ) -> Tensor | None:
        """Return ``(B, H, W)`` bool, True where an image is padded; None for a head that needs no mask.

        The arguments are those of ``forward``. A head needs the mask if a prediction depends on the whole image.
        """
        return None

    def mask_of(self, img_shapes: Tensor, size: Sequence[int]) -> Tensor | None:
        """Return the padding mask of a batch of ``size`` (H, W) from the images' sizes ``(B, 2)``, whatever they are.

        None for a head that needs no mask.
        """
        return None

    def decode(self, images: Tensor, img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Run the network on images as ``collate`` makes them, without any Python that depends on values.

        This is what exported files hold.

        Args:
            images: ``(B, 3, H, W)`` RGB from 0 to 255.
            img_shapes: ``(B, 2)`` (h, w) before padding; needed where ``needs_img_shapes`` is True.

        Returns:
            What the head's ``decode`` returns.
        """
        return self.head.decode(self.undecoded(images, img_shapes), img_shapes)

    def undecoded(self, images: Tensor, img_shapes: Tensor | None = None) -> Preds:
        """Return the head's raw predictions, of which ``decode`` makes its result; the arguments are the same."""
        inputs = self.data_preprocessor.normalize(images, img_shapes)
        padding_mask = None if img_shapes is None else self.mask_of(img_shapes, inputs.shape[-2:])
        return raw_predictions(self, inputs, padding_mask)

    def predict(self, preds: Preds, data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Return the head's predictions, with the ground truth of ``data_samples`` where they have one."""
        results = self.head.predict(preds, [sample.metainfo for sample in data_samples])
        return finish_results(results, preds, data_samples, self.head, self.truth)


def raw_predictions(
    model: BaseDetector, inputs: Tensor, padding_mask: Tensor | None = None, gt: GtBatch | None = None
) -> Preds:
    """Return the raw predictions of a detector's head on normalised images ``(B, 3, H, W)``.

    ``gt`` is given to heads that make queries of it, see ``BaseHead.needs_gt``.

    This is a function and not a method, so that what is compiled of it holds no model: a copy of a model runs itself.
    """
    return model.apply_head(model.extract_feat(inputs), padding_mask, gt)
