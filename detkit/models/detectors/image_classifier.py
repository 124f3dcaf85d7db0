"""``ImageClassifier``: backbone and classification head."""

from __future__ import annotations

from torch import Tensor

from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample

from .single_stage import SingleStageDetector


@DETECTORS.register_module()
class ImageClassifier(SingleStageDetector):
    """One class for each image, from any backbone: the head reads its last map.

    Args:
        backbone: config; its class states ``out_channels`` and ``out_strides``.
        head: config; ``in_channels`` is wired.
        neck: config of parts between them, or None.
        data_preprocessor, batch_norm, init_cfg: of ``SingleStageDetector``.
    """

    def predict(self, preds: dict[str, Tensor], data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """The head's predictions, with the class of ``data_samples`` carried over where they have one."""
        results = self.head.predict(preds, [sample.metainfo for sample in data_samples])
        for result, sample in zip(results, data_samples, strict=True):
            if 'gt_label' in sample:
                result.gt_label = sample.gt_label
        return results
