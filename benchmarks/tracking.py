"""Score the trackers on a scene with known tracks, whose boxes are disturbed as a detector's are.

motmetrics computes IDF1, MOTA and the identity switches, the package trackers computes HOTA.

With --train a detector is trained on other frames of such scenes, in about two minutes, and each tracker follows what
it finds in a video of the scene.

python benchmarks/tracking.py
python benchmarks/tracking.py --train 50
python benchmarks/tracking.py --trackers bytetrack ocsort --seeds 5
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from arguments import not_negative, positive, run
from moving_scene import SHAPE, MovingScene

from detkit import Detector
from detkit.inference.result import Result
from detkit.inference.tracking import Tracking
from detkit.inference.video_reader import VideoInfo
from detkit.inference.video_writer import VideoWriter
from detkit.registry import TRACKERS
from detkit.utils.pictures import write_picture
from detkit.utils.tables import text_table

FRAME_RATE = 25.0
_COLUMNS = ('idf1', 'mota', 'num_switches')
_LEAST_IOU = 0.5
_LEAST_SIDE = 4  # pixels of an object that is labelled
_TRAINED_SIZE = 160


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


def train_detector(folder: Path, scene: MovingScene, epochs: int) -> Detector:
    """Train YOLOv8n on frames of the scene whose objects are moved aside by up to 20 pixels."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 64), ('val', 8)):
        for number in range(count):
            frame, offset = int(rng.integers(len(scene.bboxes))), tuple(rng.integers(-20, 21, 2).tolist())
            write_picture(folder / 'images' / split / f'{number}.png', scene.draw(frame, offset))
            lines = []
            for label, (x0, y0, x1, y1) in zip(scene.labels, scene.shifted(frame, offset), strict=True):
                if min(x1 - x0, y1 - y0) > _LEAST_SIDE:
                    values = (
                        (x0 + x1) / 2 / SHAPE[1],
                        (y0 + y1) / 2 / SHAPE[0],
                        (x1 - x0) / SHAPE[1],
                        (y1 - y0) / SHAPE[0],
                    )
                    lines.append(' '.join(map(str, (label, *values))))
            path = folder / 'labels' / split / f'{number}.txt'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('\n'.join(lines))
    (folder / 'data.yaml').write_text('names: [a, b]\ntrain: images/train\nval: images/val\n')
    detector = Detector('yolov8/det_custom', options={'size': 'n'})
    detector.train(
        folder / 'data.yaml',
        epochs=epochs,
        batch_size=8,
        img_size=_TRAINED_SIZE,
        work_dir=folder / 'run',
        mosaic_prob=0.0,
        num_workers=0,
        options={'load_from': None},
    )
    return detector


def write_scene(path: Path, scene: MovingScene) -> None:
    """Write the scene as a video."""
    count = len(scene.bboxes)
    info = VideoInfo(SHAPE, FRAME_RATE, Fraction(1, int(FRAME_RATE)), count, count / FRAME_RATE, False, 0.0)
    with VideoWriter(path, info) as writer:
        for frame in range(count):
            writer.write(scene.draw(frame), frame / FRAME_RATE)


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
    parser.add_argument('--seeds', type=positive, default=3, help='scenes of other disturbances (default: 3)')
    parser.add_argument('--frames', type=positive, default=120, help='frames of a scene (default: 120)')
    parser.add_argument(
        '--train', type=not_negative, default=0, metavar='EPOCHS', help='also track by a detector trained so long'
    )
    args = parser.parse_args(argv)
    scene = MovingScene.easy(args.frames)
    titles = {'idf1': 'IDF1', 'hota': 'HOTA', 'mota': 'MOTA', 'num_switches': 'switches'}
    rows: list[list[str]] = []

    def add_row(title: str, scores: Sequence[Mapping[str, float]]) -> None:
        rows.append([title, *(f'{np.mean([score[name] for score in scores]):.3f}' for name in titles)])

    for tracker in args.trackers:
        add_row(tracker, [score_tracks(scene, track_scene(tracker, scene, seed)) for seed in range(args.seeds)])
    if args.train:
        with tempfile.TemporaryDirectory(prefix='detkit-') as name:
            detector = train_detector(Path(name), scene, args.train)
            write_scene(Path(name) / 'scene.mp4', scene)
            for tracker in args.trackers:
                results = detector.track(Path(name) / 'scene.mp4', tracker=tracker, img_size=_TRAINED_SIZE)
                add_row(f'{tracker}, trained detector', [score_tracks(scene, results)])
    print(text_table(['tracker', *titles.values()], rows, left=(0,)))


if __name__ == '__main__':
    run(main)
