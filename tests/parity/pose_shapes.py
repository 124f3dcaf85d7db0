"""What two environments agree on to compare pose models: ``shapes.py``'s ground truth, with keypoints."""

from __future__ import annotations

import numpy as np
from parity.seeded import seeded_array
from parity.shapes import ground_truth

# Number of classes and (keypoints, values of each) of each model.
POSE_MODELS = {'pose_n': (1, (17, 3)), 'pose_m': (1, (17, 3)), 'pose_n_5x2': (3, (5, 2))}


def pose_ground_truth(
    num_classes: int, num_keypoints: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each image labels ``(N,)``, boxes ``(N, 4)`` float64 xyxy pixels, keypoints ``(N, K, 3)`` float64.

    Keypoints lie in and a little around their box; a third of them is unlabelled, hidden and visible each. The last
    object of the first image has none that is labelled.
    """
    images = []
    for number, (labels, bboxes, _) in enumerate(ground_truth()):
        draws = seeded_array((len(labels), num_keypoints, 3), f'keypoints {number}', seed)
        corners, sizes = bboxes[:, None, :2], bboxes[:, None, 2:] - bboxes[:, None, :2]
        visibility = np.floor(draws[..., 2] * 3)
        if number == 0:
            visibility[-1] = 0
        places = corners + (draws[..., :2] * 1.2 - 0.1) * sizes
        images.append((labels % num_classes, bboxes, np.concatenate([places, visibility[..., None]], 2)))
    return images
