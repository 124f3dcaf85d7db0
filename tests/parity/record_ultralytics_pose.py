"""Records what ultralytics 8.4.190 computes for YOLOv8 pose models with seeded weights, into pose_yolov8.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_pose

Weights and images are made by ``seeded.py``, the ground truth by ``pose_shapes.py``, all in float64 (torch's default
type too). For models n and m of 1 class and 17 keypoints of 3 values, and n of 3 classes and 5 keypoints of 2 values,
the file holds

- ``<model>.eval.<tensor>``: fingerprints of the raw ``boxes``, ``scores`` and ``keypoints`` (B, K * D, P), and of
  ``decoded`` (B, 4 + classes + K * D, P), in evaluation mode;
- ``<model>.detections.<image>``: a fingerprint of the table x0, y0, x1, y1, score, label, keypoints (boxes and
  keypoints clipped to the image) after suppression (score above .001, IoU .7, 300 at most), and ``.count``;
- ``<model>.losses``: box, pose, kobj, cls, dfl, each times the batch size, in training mode;
- ``<model>.grad.<parameter>``: a fingerprint (float32) of each parameter's gradient of their sum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.pose_shapes import POSE_MODELS, pose_ground_truth
from parity.seeded import fingerprint, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils import ops
from ultralytics.utils.nms import non_max_suppression

SEED = 23


def reference_batch(num_classes: int, num_keypoints: int) -> dict[str, torch.Tensor]:
    """The ground truth as the reference takes it: relative to the image."""
    height, width = IMG_SHAPE
    truth = pose_ground_truth(num_classes, num_keypoints, SEED)
    bboxes = torch.from_numpy(np.concatenate([boxes for _, boxes, _ in truth])) / torch.tensor([width, height] * 2)
    return dict(
        img=seeded_tensor((len(truth), 3, *IMG_SHAPE), 'image', SEED),
        batch_idx=torch.from_numpy(np.repeat(np.arange(len(truth)), [len(labels) for labels, _, _ in truth])).double(),
        cls=torch.from_numpy(np.concatenate([labels for labels, _, _ in truth])).double().unsqueeze(1),
        bboxes=torch.cat([(bboxes[:, :2] + bboxes[:, 2:]) / 2, bboxes[:, 2:] - bboxes[:, :2]], 1),
        keypoints=torch.from_numpy(np.concatenate([points for _, _, points in truth]))
        / torch.tensor([width, height, 1.0]),
    )


def record_model(name: str, recorded: dict) -> None:
    num_classes, keypoint_shape = POSE_MODELS[name]
    size = name.split('_')[1]
    model = PoseModel(
        f'yolov8{size}-pose.yaml', ch=3, nc=num_classes, data_kpt_shape=keypoint_shape, verbose=False
    ).double()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if '.dfl.' not in key}
    model.load_state_dict(loss_state(shapes, SEED), strict=False)
    model.args = get_cfg()
    batch = reference_batch(num_classes, keypoint_shape[0])
    with torch.no_grad():
        decoded, raw = model.eval()(batch['img'])
    tensors = {'boxes': raw['boxes'], 'scores': raw['scores'], 'keypoints': raw['kpts'], 'decoded': decoded}
    for key, tensor in tensors.items():
        recorded[f'{name}.eval.{key}'] = fingerprint(tensor)
    # The reference gives up after a time limit, which is lifted here.
    tables = non_max_suppression(decoded, 0.001, 0.7, multi_label=True, max_det=300, nc=num_classes, max_time_img=1e3)
    for image, table in enumerate(tables):
        keypoints = table[:, 6:].reshape(len(table), *keypoint_shape).clone()
        ops.scale_coords(IMG_SHAPE, keypoints, IMG_SHAPE)
        table = torch.cat([table[:, :6], keypoints.flatten(1)], 1)
        table[:, :4] = table[:, :4].clamp(min=0).minimum(torch.tensor(IMG_SHAPE[::-1] * 2))
        recorded[f'{name}.detections.{image}'] = fingerprint(table)
        recorded[f'{name}.detections.{image}.count'] = len(table)
    model.train()
    losses, items = model.init_criterion()(model(batch['img']), batch)
    losses.sum().backward()
    values = [float(items[f'{key}_loss']) * len(batch['img']) for key in ('box', 'pose', 'kobj', 'cls', 'dfl')]
    assert np.isclose(sum(values), losses.sum().item(), rtol=1e-12), 'the parts do not add up to the loss'
    recorded[f'{name}.losses'] = np.array(values)
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            recorded[f'{name}.grad.{key}'] = fingerprint(parameter.grad).astype(np.float32)
    print(name, values, [value for key, value in recorded.items() if key.startswith(name) and key.endswith('count')])


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # its loss of visibilities would be in float32
    recorded = {'version': ultralytics.__version__, 'seed': SEED}
    for name in POSE_MODELS:
        record_model(name, recorded)
    np.savez_compressed(Path(__file__).with_name('pose_yolov8.npz'), **recorded)


if __name__ == '__main__':
    main()
