"""Tracking into a folder (``detkit track``, ``detkit count``): a video, MOTChallenge's text, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from detkit.inference.counting import Anchor, Area, AreaCounter, CountEvent, check_areas
from detkit.inference.drawn_output import DrawnOutput, check_sources_spared, make_folder
from detkit.inference.predictor import Predictor
from detkit.inference.result import Result, counted
from detkit.inference.source_image import SourceImage
from detkit.inference.sources import FoundSource, Source, find_sources, images_of
from detkit.inference.tracking import TrackedImage, check_trackable, sequences_of, track_sequence
from detkit.inference.video import Video, VideoFrame
from detkit.utils.files import replacing
from detkit.utils.pictures import UniqueNames
from detkit.utils.printable import printable
from detkit.utils.tables import write_json
from detkit.visualization.trails import Trails

_FRAMES_A_LINE = 100


def track_to_folder(
    predictor: Predictor,
    source: Source,
    out_dir: str | Path,
    tracker: str | Mapping[str, Any] = 'bytetrack',
    pictures: bool = True,
    drawing: Mapping[str, Any] | None = None,
    areas: Sequence[Area] = (),
    anchor: Anchor = 'center',
) -> int:
    """Track the objects of all videos of ``source``, each for itself.

    For a video ``clip.mp4`` there are ``clip.mp4`` with boxes and paths drawn, ``clip.txt`` in MOTChallenge's format
    and, where areas are given, ``clip.csv`` with all that happened there and ``clip.json`` with the counts.

    Args:
        predictor: the predictor, which holds all settings.
        source: videos and images, see ``track_sources``.
        out_dir: the folder; made if it is missing.
        tracker: see ``build_tracker``.
        pictures: whether videos are drawn; of images a picture each.
        drawing: options of the pictures, see ``Result.plot``.
        areas: lines and zones where objects are counted.
        anchor: see ``AreaCounter``.

    Returns:
        The number of frames.

    Raises:
        DataError: ``source`` names nothing, or its only video cannot be opened.
        ConfigError, MissingPackageError: see ``track_sources``.
    """
    sources = find_sources(source)
    check_trackable(predictor, tracker)
    if areas:
        check_areas(areas)
    out_dir = Path(out_dir)
    make_folder(out_dir)
    if pictures:
        check_sources_spared(sources, out_dir)
    if predictor.model.info.licence:
        print(printable(f'licence of the weights: {predictor.model.info.licence}'))
    names, picture_names = UniqueNames(), UniqueNames()
    total = 0
    for sequence in sequences_of(sources):
        stem = names.name(_stem(sequence))
        images = images_of(sequence, alone=len(sources) == 1)
        with ExitStack() as stack:
            drawn = stack.enter_context(DrawnOutput(out_dir)) if pictures else None
            files = _SequenceFiles(stack, out_dir / stem, drawn, areas, anchor, picture_names)
            try:
                for tracked in track_sequence(predictor, sequence, images, tracker):
                    files.write(tracked, drawing or {})
            except KeyboardInterrupt:
                if not (isinstance(sequence[0], Video) and sequence[0].is_live):
                    raise
                print('stopped')  # a camera ends in no other way
        total += files.frames
        for line in files.report():
            print(printable(line))
    return total


class _SequenceFiles:
    """The files of one video, which take their places when ``stack`` is left."""

    def __init__(
        self,
        stack: ExitStack,
        stem: Path,
        drawn: DrawnOutput | None,
        areas: Sequence[Area],
        anchor: Anchor,
        picture_names: UniqueNames,
    ) -> None:
        self._stem, self._drawn, self._areas, self._anchor = stem, drawn, areas, anchor
        self._picture_names = picture_names
        self._mot: BinaryIO = stack.enter_context(replacing(self._file('.txt')))
        self._csv: BinaryIO | None = stack.enter_context(replacing(self._file('.csv'))) if areas else None
        self._trails, self._counter = Trails(), None
        self.frames, self._names, self._last_id = 0, Counter(), 0
        self._errors: list[str] = []
        if self._csv is not None:
            self._csv.write(f'{",".join(CountEvent._fields)}\n'.encode())

    def _file(self, suffix: str) -> Path:
        return self._stem.with_name(self._stem.name + suffix)

    def write(self, tracked: TrackedImage, drawing: Mapping[str, Any]) -> None:
        """Write a frame's tracks, counts and picture."""
        image, img, result = tracked
        if result.error is not None:
            self._errors.append(result.error)
            return
        self.frames += 1
        new = result.track_ids > self._last_id
        self._names.update(name for name, is_new in zip(result.names, new, strict=True) if is_new)
        self._last_id = max([self._last_id, *result.track_ids.tolist()])
        self._mot.write(''.join(mot_lines(result)).encode())
        if self._areas:
            if self._counter is None:
                self._counter = AreaCounter(self._areas, img.shape[:2], self._anchor)
            for event in self._counter.update(result):
                self._csv.write(f'{event.seconds:.6f},{",".join(map(_csv_cell, event[1:]))}\n'.encode())
        if self._drawn is not None:
            picture = result.plot(self._trails.draw(img, result.track_ids, result.bboxes, result.seconds), **drawing)
            picture = picture if self._counter is None else self._counter.draw(picture)
            stem = self._stem.name if isinstance(image, VideoFrame) else self._picture_names.name(Path(image.name).stem)
            self._drawn.write(image, self._drawn.encode(image, picture), stem)
        if (self.frames - 1) % _FRAMES_A_LINE == 0:
            print(printable(f'{result.title}: {result.summary}'))

    def report(self) -> list[str]:
        """Write the counts, and return lines on what was found."""
        lines = [f'skipped: {error}' for error in self._errors]
        found = counted(self._names.elements()) if self._names else 'no tracks'
        lines.append(f'{self._stem.name}: {self.frames} frames, tracks: {found}; results in {self._file(".txt")}')
        if self._counter is not None:
            summary = self._counter.summary()
            write_json(self._file('.json'), summary)
            for name, events in {**summary['lines'], **summary['zones']}.items():
                counts = [
                    f'{event} {value if isinstance(value, int) else sum(value.values())}'
                    for event, value in events.items()
                ]
                lines.append(f'{name}: {", ".join(counts)}')
        return lines


def mot_lines(result: Result) -> Iterator[str]:
    """Yield the lines of MOTChallenge's results: frame and track from 1, x, y, w, h, score, and three times -1."""
    for track, (x0, y0, x1, y1), score in zip(
        result.track_ids.tolist(), result.bboxes.tolist(), result.scores.tolist(), strict=True
    ):
        yield f'{result.frame + 1},{track},{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f},{score:.4f},-1,-1,-1\n'


def _stem(sequence: Sequence[FoundSource]) -> str:
    path = Path(sequence[0].name)
    return (path.parent.name if isinstance(sequence[0], SourceImage) and len(sequence) > 1 else path.stem) or 'frames'


def _csv_cell(value: Any) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text
