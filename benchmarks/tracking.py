"""Score the trackers on a scene with known tracks, whose boxes are disturbed as a detector's are.

motmetrics computes IDF1, MOTA and the identity switches, the package trackers computes HOTA.

python benchmarks/tracking.py
python benchmarks/tracking.py --trackers bytetrack ocsort --seeds 5
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
from moving_scene import SHAPE, MovingScene

from detkit.inference.result import Result
from detkit.inference.tracking import Tracking
from detkit.registry import TRACKERS
from detkit.utils.tables import text_table

FRAME_RATE = 25.0
_COLUMNS = ('idf1', 'mota', 'num_switches')
_LEAST_IOU = 0.5


def track_scene(tracker: str, scene: MovingScene, seed: int) -> list[Result]:
    """Return the tracked results of a scene's disturbed boxes, as ``Detector.track`` makes them of a detector's."""
    rng = np.random.default_rng(seed)
    tracking = Tracking(tracker, FRAME_RATE)
    blank = np.zeros((*SHAPE, 3), np.uint8)
    results = []
    for frame in range(len(scene.bboxes)):
        bboxes, scores, labels = scene.noisy(frame, rng)
        found = Result('scene', SHAPE, ('a', 'b'), labels, scores, bboxes, frame=frame, seconds=frame / FRAME_RATE)
        results.append(tracking.update(found, blank, found.seconds))
    return results


def score_tracks(scene: MovingScene, results: Sequence[Result]) -> dict[str, float]:
    """Return IDF1, MOTA, the number of identity switches, and HOTA."""
    import motmetrics
    from trackers.eval import box_iou, compute_hota_metrics

    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    true_ids = np.arange(scene.bboxes.shape[1])
    overlaps = []
    for bboxes, result in zip(scene.bboxes, results, strict=True):
        overlaps.append(box_iou(bboxes, result.bboxes.astype(float)))
        distances = np.where(overlaps[-1] >= _LEAST_IOU, 1 - overlaps[-1], np.nan)
        accumulator.update(true_ids, result.track_ids, distances)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of pandas, about how motmetrics uses it
        row = motmetrics.metrics.create().compute(accumulator, metrics=list(_COLUMNS)).iloc[0]
    numbers = {track: number for number, track in enumerate(sorted({i for r in results for i in r.track_ids.tolist()}))}
    hota = compute_hota_metrics(
        [true_ids for _ in results],
        [np.array([numbers[track] for track in result.track_ids.tolist()], int) for result in results],
        overlaps,
    )
    return {**{name: float(row[name]) for name in _COLUMNS}, 'hota': float(hota['HOTA'])}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trackers', nargs='+', default=TRACKERS.names(), help='names of trackers (default: all)')
    parser.add_argument('--seeds', type=int, default=3, help='scenes of other disturbances (default: 3)')
    parser.add_argument('--frames', type=int, default=120, help='frames of a scene (default: 120)')
    args = parser.parse_args(argv)
    scene = MovingScene.easy(args.frames)
    rows = []
    for tracker in args.trackers:
        scores = [score_tracks(scene, track_scene(tracker, scene, seed)) for seed in range(args.seeds)]
        mean = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
        rows.append(
            [tracker, *(f'{mean[name]:.3f}' for name in ('idf1', 'hota', 'mota')), f'{mean["num_switches"]:.1f}']
        )
    print(text_table(['tracker', 'IDF1', 'HOTA', 'MOTA', 'switches'], rows, left=(0,)))


if __name__ == '__main__':
    main()
