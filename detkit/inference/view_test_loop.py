"""``ViewTestLoop``: a test with sliced inference or test-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader

from detkit.engine.eval_loops import TestLoop
from detkit.engine.training_state import unwrap
from detkit.evaluation.evaluator import Evaluator
from detkit.inference.preparation import scaled_preparations
from detkit.inference.steps import input_size
from detkit.inference.view_options import ViewOptions
from detkit.inference.view_predictor import ViewPredictor
from detkit.registry import LOOPS
from detkit.structures.data_sample import DetDataSample

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@LOOPS.register_module()
class ViewTestLoop(TestLoop):
    """The loop of a test whose dataset gives whole images, which are predicted on by views.

    The thresholds are those of the head's ``test_cfg``, as without views.

    Args:
        runner, evaluator, amp: see ``EvalLoop``.
        dataloader: its dataset's pipeline decodes images and leaves their size as it is.
        views: the options, see ``ViewOptions``.
        pipeline: the transforms from a view to the network's input, configs.
        batch_size: views at a time.

    Raises:
        ConfigError: see ``ViewOptions`` and ``ViewPredictor``.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        views: Mapping[str, Any],
        pipeline: Sequence[dict],
        amp: bool | str = False,
        batch_size: int = 1,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, amp)
        model = unwrap(runner.model)
        options = ViewOptions(**views)
        classifies = model.classifies
        collate_fn = dataloader.get('collate_fn') if isinstance(dataloader, dict) else None
        config = dict(test_dataloader=dict(dataset=dict(pipeline=list(pipeline)), collate_fn=collate_fn))
        size = input_size(config, classifies)
        self._truth = model.truth
        scales = {augmentation.scale for augmentation in options.augmentations}
        size = size if model.input_size is None else max(model.input_size)
        self._preparations = scaled_preparations(config, size, classifies, model.input_size, scales)
        keypoints = {key: value for key, value in self.dataloader.dataset.metainfo.items() if key == 'flip_pairs'}
        self._views = ViewPredictor(options, model.head.test_cfg, keypoints, classifies, batch_size)

    def predict(self, data_batch: dict[str, Any]) -> list[DetDataSample]:
        """Return a data sample an image, with its ground truth."""
        results = []
        for pixels, shape, sample in zip(
            data_batch['inputs'], data_batch['gt'].img_shapes.tolist(), data_batch['data_samples'], strict=True
        ):
            img = pixels[:, : shape[0], : shape[1]].permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
            result = self._predict_image(img, sample)
            if self._truth in sample:
                result.set_field(sample.get(self._truth), self._truth)
            results.append(result)
        return results

    def _predict_image(self, img: np.ndarray, sample: DetDataSample) -> DetDataSample:
        def pack(view: np.ndarray, scale: float) -> dict:
            return self._preparations[scale](view, sample.img_path, sample.img_id)

        def run(batch: list[dict]) -> list[DetDataSample]:
            return self.model.test_step(next(iter(self._preparations.values())).batch_of(batch))

        meta = {key: sample.get(key) for key in ('img_path', 'img_id', 'skipped') if key in sample}
        result = self._views.predict(img, meta, pack, run)
        result.set_metainfo(meta)
        return result
