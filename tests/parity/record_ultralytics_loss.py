"""Records the losses, gradients and detections of ultralytics 8.4.190 into loss_yolov8.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_loss

Weights and images are made by ``seeded.py``, the ground truth by ``shapes.py``, all in float64; torch's default type is
float64 too, without which the reference would put its targets into float32. For models n, s and m, detection and
segmentation (80 classes) the file holds

- ``<model>.losses``: box, seg (0 for detection), cls, dfl, each times the batch size, of the model in training mode;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1 (clipped), score, label after suppression
  (score above .001, IoU .7, several labels a point, 300 at most), of the model in evaluation mode;
- ``masks.<case>``: packed bits of masks of random prototypes, see ``MASK_CASES``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE, MASK_CASES, ground_truth, loss_state, mask_inputs
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, SegmentationModel
from ultralytics.utils import ops
from ultralytics.utils.nms import non_max_suppression

SEED = 21
MODELS = {
    'det_n': (DetectionModel, 'yolov8n.yaml'),
    'det_s': (DetectionModel, 'yolov8s.yaml'),
    'det_m': (DetectionModel, 'yolov8m.yaml'),
    'seg_n': (SegmentationModel, 'yolov8n-seg.yaml'),
    'seg_s': (SegmentationModel, 'yolov8s-seg.yaml'),
    'seg_m': (SegmentationModel, 'yolov8m-seg.yaml'),
}


def reference_batch() -> dict[str, torch.Tensor]:
    """The ground truth as the reference takes it: centre, width, height relative to the image."""
    height, width = IMG_SHAPE
    truth = ground_truth()
    bboxes = torch.from_numpy(np.concatenate([boxes for _, boxes, _ in truth])) / torch.tensor([width, height] * 2)
    return dict(
        img=seeded_tensor((len(truth), 3, *IMG_SHAPE), 'image', SEED),
        batch_idx=torch.from_numpy(np.repeat(np.arange(len(truth)), [len(labels) for labels, _, _ in truth])).double(),
        cls=torch.from_numpy(np.concatenate([labels for labels, _, _ in truth])).double().unsqueeze(1),
        bboxes=torch.cat([(bboxes[:, :2] + bboxes[:, 2:]) / 2, bboxes[:, 2:] - bboxes[:, :2]], 1),
        masks=torch.from_numpy(np.stack([index_map for _, _, index_map in truth])).double(),
    )


def record_model(name: str, model: torch.nn.Module, recorded: dict) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(loss_state(shapes, SEED), strict=False)
    model.args = get_cfg()
    batch = reference_batch()
    with torch.no_grad():
        decoded = model.eval()(batch['img'])[0]
    decoded = decoded[0] if isinstance(decoded, tuple) else decoded
    # The reference gives up after a time limit, which is lifted here.
    tables = non_max_suppression(decoded, 0.001, 0.7, multi_label=True, max_det=300, nc=80, max_time_img=1e3)
    for image, table in enumerate(tables):
        table = table[:, :6].clone()
        table[:, :4] = table[:, :4].clamp(min=0).minimum(torch.tensor(IMG_SHAPE[::-1] * 2))
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    model.train()
    losses, items = model.init_criterion()(model(batch['img']), batch)
    losses.sum().backward()
    batch_size = len(batch['img'])
    values = [float(items.get(f'{key}_loss', 0.0)) * batch_size for key in ('box', 'seg', 'cls', 'dfl')]
    assert np.isclose(sum(values), losses.sum().item(), rtol=1e-12), 'the parts do not add up to the loss'
    recorded[f'{name}.losses'] = np.array(values)
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    print(name, values, [value for key, value in recorded.items() if key.startswith(name) and key.endswith('count')])


def record_masks(recorded: dict) -> None:
    for case, (input_shape, ori_shape) in MASK_CASES.items():
        protos, coeffs, bboxes = mask_inputs(input_shape, ori_shape, SEED)
        masks = ops.process_mask_native(protos, coeffs, bboxes, ori_shape)
        recorded[f'masks.{case}'] = np.packbits(masks.numpy().astype(bool))
    # The masks of its predictor are the same, made at the size of the network's input.
    protos, coeffs, bboxes = mask_inputs(*MASK_CASES['same'], SEED)
    masks = ops.process_mask(protos, coeffs, bboxes, MASK_CASES['same'][0], upsample=True)
    assert (np.packbits(masks.numpy().astype(bool)) == recorded['masks.same']).all()


def main() -> None:
    torch.set_default_dtype(torch.float64)
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for name, (cls, yaml) in MODELS.items():
        record_model(name, cls(yaml, ch=3, nc=80, verbose=False).double(), recorded)
    record_masks(recorded)
    np.savez_compressed(Path(__file__).with_name('loss_yolov8.npz'), **recorded)


if __name__ == '__main__':
    main()
