"""``ImageClassifier``: backbone and classification head."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.registry import MODELS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, nearest

from .single_stage import SingleStageDetector


@MODELS.register_module()
class ImageClassifier(SingleStageDetector):
    """One class for each image, from any backbone: the head reads its last map.

    Args:
        backbone: config; its class states ``out_channels`` and ``out_strides``.
        head: config; ``in_channels`` is wired.
        neck: config of parts between them, or None.
        batch_norm: ``dict(eps=…, momentum=…)`` for every batch normalisation of the model; None leaves each as its
            component makes it. YOLOv8's classifiers have PyTorch's own values where its detectors have others.
        data_preprocessor: config; ``DetDataPreprocessor`` with its defaults when left out.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | list[dict] | None = None,
        batch_norm: dict[str, float] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(backbone, head, neck, data_preprocessor, init_cfg)
        for key in batch_norm or ():
            if key not in ('eps', 'momentum'):
                raise ConfigError(f'ImageClassifier: batch_norm has no key {key!r}; it takes eps and momentum.'
                                  f'{nearest(key, ("eps", "momentum"))}')
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                vars(module).update(batch_norm or {})

    def predict(self, preds: dict[str, Tensor], data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """The head's predictions, with the class of ``data_samples`` carried over where they have one."""
        results = self.head.predict(preds, [sample.metainfo for sample in data_samples])
        for result, sample in zip(results, data_samples, strict=True):
            if 'gt_label' in sample:
                result.gt_label = sample.gt_label
        return results
