"""The trackers of Roboflow's package ``trackers``, behind the protocol ``Tracker``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from detkit.protocols import Tracker
from detkit.registry import TRACKERS
from detkit.utils.errors import ComponentError, ConfigError, MissingPackageError, nearest

_LIBRARY_RATE = 30  # frames a second that the package counts in


class _LibraryTracker(Tracker):
    """A tracker of the package ``trackers``.

    Attributes:
        library_class: its class there.
        uses_images: whether it looks at the frames, too.
    """

    library_class: str
    uses_images = False

    def __init__(self, frame_rate: float, max_lost: float, **settings: Any) -> None:
        for name, value in (('frame_rate', frame_rate), ('max_lost', max_lost)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ConfigError(f'{name} of a tracker is {value!r}, but must be a number of at least 0')
        for name, value in settings.items():
            if name.endswith('threshold') and not 0 <= value <= 1:
                raise ConfigError(f'a threshold of a tracker is {value!r}, but must be a number from 0 to 1')
        self._supervision, library = _import_library()
        self._tracker = vars(library)[self.library_class](
            frame_rate=float(frame_rate), lost_track_buffer=round(max_lost * _LIBRARY_RATE), **settings
        )

    def update(self, bboxes: np.ndarray, scores: np.ndarray, img: np.ndarray, seconds: float) -> np.ndarray:
        numbers = np.full(len(bboxes), -1, np.int64)
        detections = self._supervision.Detections(
            xyxy=np.asarray(bboxes, np.float64), confidence=scores, data={'row': np.arange(len(bboxes))}
        )
        frame = np.ascontiguousarray(img[..., ::-1]) if self.uses_images else None
        found = self._tracker.update(detections, frame=frame, timestamp=seconds)
        if len(found):  # in another order, and some left out
            numbers[found.data['row']] = found.tracker_id
        return numbers


@TRACKERS.register_module()
class SORT(_LibraryTracker):
    """SORT: a Kalman filter for each track, and the assignment of boxes to tracks that overlap most (Bewley, 2016).

    Args:
        frame_rate: frames a second of what is tracked.
        max_lost: seconds that a track waits for its object.
        new_track_thr: least score of a box that begins a track.
        iou_thr: least overlap of a box and a track.
        min_frames: boxes in a row that make a track.
    """

    library_class = 'SORTTracker'

    def __init__(
        self,
        frame_rate: float,
        max_lost: float = 1.0,
        new_track_thr: float = 0.4,
        iou_thr: float = 0.3,
        min_frames: int = 3,
    ) -> None:
        super().__init__(
            frame_rate,
            max_lost,
            track_activation_threshold=new_track_thr,
            minimum_iou_threshold=iou_thr,
            minimum_consecutive_frames=min_frames,
        )


@TRACKERS.register_module()
class ByteTrack(_LibraryTracker):
    """ByteTrack: as SORT, but boxes of low score go on with tracks that no other box fits (Zhang, 2022).

    Args:
        frame_rate, max_lost, new_track_thr, iou_thr, min_frames: as of ``SORT``.
        high_thr: boxes of lower score are assigned last, and begin no track.
    """

    library_class = 'ByteTrackTracker'

    def __init__(
        self,
        frame_rate: float,
        max_lost: float = 1.0,
        new_track_thr: float = 0.4,
        high_thr: float = 0.3,
        iou_thr: float = 0.1,
        min_frames: int = 2,
    ) -> None:
        super().__init__(
            frame_rate,
            max_lost,
            track_activation_threshold=new_track_thr,
            high_conf_det_threshold=high_thr,
            minimum_iou_threshold=iou_thr,
            minimum_consecutive_frames=min_frames,
        )


@TRACKERS.register_module()
class OCSORT(_LibraryTracker):
    """OC-SORT: as SORT, with the direction of motion, and corrected where an object was hidden (Cao, 2023).

    Args:
        frame_rate, max_lost, iou_thr: as of ``SORT``.
        high_thr: boxes of lower score are not used, and get no track.
        min_frames: boxes in a row that a track needs to be reported, after each gap again.
    """

    library_class = 'OCSORTTracker'

    def __init__(
        self,
        frame_rate: float,
        max_lost: float = 1.0,
        high_thr: float = 0.25,
        iou_thr: float = 0.3,
        min_frames: int = 1,
    ) -> None:
        super().__init__(
            frame_rate,
            max_lost,
            high_conf_det_threshold=high_thr,
            minimum_iou_threshold=iou_thr,
            minimum_consecutive_frames=min_frames,
        )


@TRACKERS.register_module()
class BoTSORT(_LibraryTracker):
    """BoT-SORT without appearance: as ByteTrack, with the camera's motion taken out (Aharon, 2022).

    Args:
        frame_rate, max_lost, new_track_thr, high_thr, min_frames: as of ``ByteTrack``.
        camera_motion: whether the motion is estimated from the frames, once for each class that is kept apart.
    """

    library_class = 'BoTSORTTracker'

    def __init__(
        self,
        frame_rate: float,
        max_lost: float = 1.0,
        new_track_thr: float = 0.4,
        high_thr: float = 0.3,
        min_frames: int = 2,
        camera_motion: bool = True,
    ) -> None:
        super().__init__(
            frame_rate,
            max_lost,
            track_activation_threshold=new_track_thr,
            high_conf_det_threshold=high_thr,
            minimum_consecutive_frames=min_frames,
            enable_cmc=camera_motion,
        )
        self.uses_images = camera_motion


@TRACKERS.register_module()
class CBIoU(_LibraryTracker):
    """C-BIoU: as ByteTrack, with boxes made larger where they are compared, for motion that jumps (Yang, 2023).

    Args:
        frame_rate, max_lost, new_track_thr, high_thr, min_frames: as of ``ByteTrack``.
    """

    library_class = 'CBIoUTracker'

    def __init__(
        self,
        frame_rate: float,
        max_lost: float = 1.0,
        new_track_thr: float = 0.4,
        high_thr: float = 0.3,
        min_frames: int = 2,
    ) -> None:
        super().__init__(
            frame_rate,
            max_lost,
            track_activation_threshold=new_track_thr,
            high_conf_det_threshold=high_thr,
            minimum_consecutive_frames=min_frames,
        )


def build_tracker(tracker: str | Mapping[str, Any], frame_rate: float) -> Tracker:
    """Build a tracker.

    Args:
        tracker: the name of a registered one, in any case ('bytetrack'), or a dict with that as ``type`` and arguments.
        frame_rate: frames a second of what is tracked.

    Raises:
        ConfigError: there is no such tracker, it refuses an argument, or lacks the method ``update`` of ``Tracker``.
        MissingPackageError: the package that it is from is not installed.
    """
    cfg = {'type': tracker} if isinstance(tracker, str) else tracker
    if not isinstance(cfg, Mapping) or not isinstance(cfg.get('type'), str):
        raise ConfigError(f"a tracker is a name such as 'bytetrack', or a dict with such a type, not {tracker!r}")
    names = {name.lower(): name for name in TRACKERS.names()}
    name = names.get(cfg['type'].lower())
    if name is None:
        known = ', '.join(sorted(names.values()))
        raise ConfigError(
            f'there is no tracker {cfg["type"]!r}; known are {known}.{nearest(cfg["type"], names.values())}'
        )
    built = TRACKERS.build({**cfg, 'type': name}, {'frame_rate': frame_rate})
    _check_update(built, name)
    return built


def _check_update(tracker: Any, name: str) -> None:
    update = getattr(tracker, 'update', None)
    wanted = 'update(self, bboxes, scores, img, seconds), see Tracker in detkit.protocols'
    if not callable(update):
        raise ComponentError(f'the tracker {name} has no method update; give it {wanted}', name)
    try:
        inspect.signature(update).bind('bboxes', 'scores', 'img', 'seconds')
    except TypeError as error:
        raise ComponentError(
            f'update of the tracker {name} takes other arguments ({error}); it must be {wanted}', name
        ) from error


def _import_library() -> tuple[ModuleType, ModuleType]:
    try:
        import supervision
        import trackers
    except ImportError as error:
        raise MissingPackageError(
            f"tracking needs the package trackers ({error}); install it by pip install 'detkit[track]'"
        ) from error
    return supervision, trackers
