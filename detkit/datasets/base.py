"""``DetDataset``: an annotation format's files to records and meta information."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from detkit.datasets.class_map import label_table, map_classes, relabel_metainfo
from detkit.datasets.class_names import UNUSED_CLASS, refuse_repeated
from detkit.datasets.flat_annotations import FlatRecords
from detkit.datasets.image_frames import skips_of_frames
from detkit.datasets.own_datasets import check_records
from detkit.datasets.pipeline_dataset import PipelineDataset
from detkit.datasets.records import Records
from detkit.datasets.repeats import find_repeats
from detkit.datasets.skips import Skip, check_skips, skip_lines
from detkit.datasets.splits import check_subset, choose_subset
from detkit.datasets.transforms.loading import LoadImageFromFile, UnreadableImageError, read_shared
from detkit.registry import SAMPLE_DATASETS, TRANSFORMS
from detkit.structures.annotations import Record
from detkit.structures.keypoints import fill_metainfo
from detkit.structures.sample import Sample
from detkit.utils.errors import ConfigError, DataError, absence, nearest
from detkit.utils.front_end import changing
from detkit.utils.progress import track
from detkit.utils.text_files import is_printable

__all__ = ['DetDataset']

# How many classes an entry names.
_SHOWN = 5


class DetDataset(PipelineDataset):
    """Base of all datasets. A subclass reads one annotation format in ``load_records``.

    Args:
        data_root: the folder that relative paths start from.
        pipeline: transforms as config dicts or built objects, run in this order over a ``Sample``; the last one returns
            what ``collate`` takes.
        metainfo: ``dict(classes=(...))``; where it is missing, the annotation files must name them. For keypoints
            ``keypoint_names``, ``flip_pairs`` (left and right), ``skeleton`` (limbs), both pairs of numbers from 0, and
            ``sigmas``.
        test_mode: samples also carry the original image's ground truth. An unreadable image becomes a grey one without
            objects, marked ``skipped`` in its meta information, where training takes the next readable one of the pool.
        cache: 'ram' to decode every image once, at construction, and keep it; None to read images when needed.
        mix_from: where mosaic and mixup get other images from. 'group': the ``mix_group_size`` consecutive
            positions of the epoch's order that the sample belongs to, so that a batch decodes each of its images once;
            'dataset': any image of the dataset, intended for cached ones.
        mix_group_size: the group's size, a divisor of the batch size; None: the batch itself.
        max_skipped: the share of images, and of objects, that may be skipped as invalid when the annotations are read
            (one always may).
        fraction: the share of the images to use, the first ones in the dataset's order.
        single_class: treat all objects as one class, named 'object'.
        rect: rectangular batches: images sorted by aspect ratio (``order``), each batch padded no further than its
            own images need.
        pad: the border of a rectangular batch, in units of ``size_divisor``, added before rounding up.
        size_divisor: sides of rectangular batches are multiples of it.
        sample: name of a sample dataset that is fetched, or drawn, when ``data_root`` is missing.
        subset: ('train', share) or ('val', share): one side of a division of the images, of which ``share`` is trained
            on; see ``choose_subset``. None takes all.
        subset_group: the images that belong on one side together: 'folder', or a regular expression for files' names.
        class_map: other names for classes; None in place of a name leaves the class's objects out, equal names merge
            classes, '*' stands for all classes that are not named.

    Attributes:
        records: the images, as a sequence.
        ann_file: the file of the annotations, '' where they have no single one.
        metainfo: at least ``classes``, a tuple of names.
        skipped: entries left out when the annotations were read, because they are broken.
        unused: entries left out for another reason: repeated objects, classes that were not asked for, files that
            belong to nothing. They count for no limit.
        order: ``(N,)`` indices in the order to be read, or None where any order will do.
        active_epochs: see ``SwitchableDataset``. ``CloseTransformsHook`` sets it before any worker starts, and a sample
            compares it with its own epoch, so that nothing depends on when workers start or where a run resumes.

    Raises:
        ConfigError: an argument has a value that it cannot have.
        DataError: nothing to read, no class names, or too much skipped.
    """

    # Whether ``img_id`` of the records is the files' own, and not made of the image's name.
    has_image_ids = False
    # The keys of ``metainfo`` that a config may give; a subclass that reads further ones adds their names.
    metainfo_keys: tuple[str, ...] = (
        'classes',
        'category_ids',
        'keypoint_names',
        'keypoint_shape',
        'flip_pairs',
        'skeleton',
        'sigmas',
    )
    ann_file: str | Path = ''

    # The stages of a pipeline in their order; each transform states its own.
    pipeline_stages = ('load', 'geometry', 'render', 'pixels', 'pack')
    # Whether a dataset is of no use without names of classes.
    names_classes = True

    def __init__(
        self,
        data_root: str = '',
        pipeline: Sequence[dict | Callable[[Sample], Any]] = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        cache: str | None = None,
        mix_from: str = 'group',
        mix_group_size: int | None = None,
        max_skipped: float = 0.01,
        fraction: float = 1.0,
        single_class: bool = False,
        rect: bool = False,
        pad: float = 0.5,
        size_divisor: int = 32,
        sample: str | None = None,
        subset: tuple[str, float] | None = None,
        subset_group: str | None = None,
        class_map: dict[str, str | None] | None = None,
    ) -> None:
        check_choice('cache', cache, (None, 'ram'))
        check_choice('mix_from', mix_from, ('group', 'dataset'))
        if not 0 < fraction <= 1:
            raise ConfigError(f'fraction={fraction} of {type(self).__name__} must lie in (0, 1]')
        if mix_group_size is not None and mix_group_size < 1:
            raise ConfigError(f'mix_group_size={mix_group_size} of {type(self).__name__} must be at least 1, or None')
        if class_map and single_class:
            raise ConfigError(
                f'class_map of {type(self).__name__} has no effect with single_class=True; give one of them'
            )
        check_subset(subset, subset_group, type(self).__name__)
        if not isinstance(pipeline, list | tuple):
            raise ConfigError(f'pipeline={pipeline!r} of {type(self).__name__} must be a list of transforms')
        self.data_root = str(data_root)
        self.test_mode = test_mode
        self.mix_from = mix_from
        self.mix_group_size = mix_group_size
        self.max_skipped = max_skipped
        self.single_class = single_class
        self.pad, self.size_divisor = pad, size_divisor
        self.metainfo: dict[str, Any] = dict(metainfo or {})
        self.skipped: list[Skip] = []
        self.unused: list[Skip] = []
        self.active_epochs: dict[str, tuple[int, int | None]] = {}
        self.transforms = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]

        self._find_root(sample)
        records = self.load_records()
        if not isinstance(records, Records):
            check_records(records, self.metainfo.get('classes'), type(self).__name__)
            records = FlatRecords.of(records)
        self._check_loaded(records)
        if class_map:
            records = self._map_classes(records, class_map)
        if subset is not None:
            records = records.select(choose_subset(records, *subset, subset_group, self._name()))
        records = self.narrow_records(records)
        self._check_images(records)
        if single_class:
            merged = len(self.metainfo.get('classes') or ()) > 1
            self.metainfo['classes'] = ('object',)
            self.metainfo.pop('category_ids', None)
            records = records.with_one_class()
            if merged:
                records = self._leave_out_repeats(records, 'single_class')
        self.records: Records = records[: max(1, round(len(records) * fraction))]
        self.unused += skips_of_frames(self.records.paths())
        if not test_mode:
            self._note_empty_classes()
        self.order = self._aspect_order() if rect else None
        self.cached_images: dict[str, np.ndarray] | None = None
        if cache == 'ram':
            self._fill_cache()

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of a dataset before it is built, without reading its annotations.

        A subclass adds what the headers of its files contain. The model is wired from it.

        Args:
            cfg: the dataset's config.

        Returns:
            The known ones of ``metainfo``'s keys ``classes``, ``category_ids``, ``keypoint_shape``, ``sigmas``,
            ``flip_pairs`` and ``stuff_labels``.

        Raises:
            DataError: the classes are told by a file that is missing or wrong.
        """
        metainfo = {key: value for key, value in (cfg.get('metainfo') or {}).items() if value is not None}
        return {**metainfo, 'classes': ('object',)} if cfg.get('single_class') else metainfo

    def load_records(self) -> Records | Sequence[Record]:
        """Read the annotation files, whole, into one record an image.

        A list of records is packed into ``FlatRecords``, which a reader of large datasets makes itself.
        A subclass appends what it leaves out to ``self.skipped`` or ``self.unused``, and sets
        ``self.metainfo['classes']`` where the config gave none.
        """
        raise NotImplementedError

    def narrow_records(self, records: Records) -> Records:
        """Leave out images and objects that training or testing alone does not take.

        It follows the division by ``subset``, whose two sides must begin with the same images.
        """
        return records

    def with_classes(self, classes: Sequence[str]) -> DetDataset:
        """Return the dataset with labels that are indices into another list of names.

        Raises:
            ConfigError: one of its classes is not in the list.
        """
        if tuple(classes) == self.metainfo['classes']:
            return self
        table = label_table(self.metainfo['classes'], classes, self._name())
        same = copy.copy(self)
        same.metainfo = relabel_metainfo(self.metainfo, classes, table)
        same.records = self.records.with_labels(table)
        return same

    def note_other_classes(self, counts: Mapping[str, int], present: Iterable[str], source: str) -> None:
        """List objects of classes that were not asked for as ``unused``.

        Args:
            counts: how many objects each of those classes has.
            present: the classes asked for that have objects.
            source: the name of the files in messages.

        Raises:
            DataError: a class asked for has no object, but one of almost the same name has.
        """
        for name in sorted(set(self.metainfo.get('classes') or ()) - set(present)):
            # Names that differ in their numbers are different classes, however alike they look.
            alike = [other for other in counts if re.findall(r'\d+', other) == re.findall(r'\d+', name)]
            hint = nearest(name, alike, 1, cutoff=0.85)
            if hint:
                raise DataError(
                    f'no object in {source} is of the class {name!r} of metainfo.{hint} Correct metainfo.classes, or '
                    'the names in the files.'
                )
        self.unused += [
            Skip(source, f'class {name!r}', 'an object of a class that metainfo does not name', count=count)
            for name, count in sorted(counts.items())
        ]

    def describe_keypoints(self, num_keypoints: int, source: str) -> None:
        """Check the keypoint entries of ``metainfo`` and fill in missing ones; ``load_records`` calls it.

        Raises:
            ConfigError: it does not fit K keypoints; ``source`` names their origin in the error.
        """
        self.metainfo.update(fill_metainfo(self.metainfo, num_keypoints, f'{type(self).__name__} at {source!r}'))
        if self.metainfo['flip_pairs'] is None and not self.test_mode:
            print_log(
                f'It is not known which of the {num_keypoints} keypoints of {source} are left and right of each other: '
                'images with keypoints are not mirrored. Set metainfo=dict(flip_pairs=...), or flip_idx in the data '
                'yaml.',
                'current',
            )

    def _find_root(self, sample: str | None) -> None:
        root = Path(self.data_root)
        if sample is not None and root == Path('data') / sample:
            prepare = SAMPLE_DATASETS.get(sample)
            if prepare is None:
                names = SAMPLE_DATASETS.names()
                raise DataError(
                    f'there is no sample dataset {sample!r}, only {", ".join(names)}.{nearest(sample, names)}'
                )
            prepare(root)
        elif self.data_root and not root.exists():
            raise DataError(
                f'the data folder {self.data_root} {absence(root)} (working directory {Path.cwd()}); '
                f'set data_root to where the data lies, for example by {changing("data_root", "PATH")}'
            )

    def _name(self) -> str:
        return f'{type(self).__name__} at {self.place()!r}'

    def place(self) -> str:
        """Return what a person knows the data by: their folder, or the file that names them where none is given."""
        return self.data_root or str(self.ann_file or type(self).__name__)

    def _check_loaded(self, records: Records) -> None:
        self._check_images(records)
        if not self.metainfo.get('classes') and self.names_classes:
            raise DataError(
                f"{self._name()} names no classes{self._first_skipped()}; set metainfo=dict(classes=('name', ...)), or "
                'correct the annotations'
            )
        self.metainfo['classes'] = tuple(self.metainfo['classes'])
        refuse_repeated(self.metainfo['classes'], self._name())
        for name in (*self.metainfo['classes'], *(self.metainfo.get('keypoint_names') or ())):
            if not is_printable(str(name)):
                raise DataError(
                    f'{self._name()} has a class or keypoint of the name {name!r}, which no text file can hold: half '
                    'of a surrogate pair is no character. Correct the name.'
                )

    def _check_images(self, records: Records) -> None:
        if not records:
            hints = [f'; left out: {line}' for line in skip_lines(self.unused)]
            raise DataError(f'{self._name()} has no image{self._first_skipped()}{"".join(hints)}')

    def _first_skipped(self) -> str:
        found = [f': {len(self.skipped)} skipped, the first, {skip.path}, {skip.reason}' for skip in self.skipped[:1]]
        return ''.join(found)

    def _map_classes(self, records: Records, class_map: Mapping[str, str | None]) -> Records:
        former = self.metainfo['classes']
        classes, table = map_classes(former, class_map, self._name())
        self.metainfo = relabel_metainfo(self.metainfo, classes, table)
        counts = records.count_labels(len(former))
        reason = 'an object of a class that class_map leaves out'
        self.unused += [
            Skip(self.place(), f'class {former[label]!r}', reason, count=int(counts[label]))
            for label in np.flatnonzero((table < 0) & (counts > 0))
        ]
        records, kept = records.with_labels(table), table[table >= 0]
        return records if len(np.unique(kept)) == len(kept) else self._leave_out_repeats(records, 'class_map')

    def _leave_out_repeats(self, records: Records, key: str) -> Records:
        """Leave out objects that were of two classes, which a key of the config has made one."""
        if not isinstance(records, FlatRecords):
            return records  # classes of whole images
        images = records.images_of_objects()
        repeats = find_repeats(records.objects) & (images >= 0)
        if not repeats.any():
            return records
        first = records.paths()[images[repeats.argmax()]]
        reason = f'the same as an earlier object, once {key} merges their classes'
        self.unused.append(Skip(first, None, reason, count=int(repeats.sum())))
        return records.select_objects(~repeats)

    def _note_empty_classes(self) -> None:
        """Say which classes a training set cannot teach."""
        classes = self.metainfo['classes']
        counts = self.records.count_labels(len(classes))
        empty = [name for name, count in zip(classes, counts, strict=False) if not count and name != UNUSED_CLASS]
        if empty:
            names = ', '.join(map(repr, empty[:_SHOWN])) + (', ...' if len(empty) > _SHOWN else '')
            where = 'class ' + repr(empty[0]) if len(empty) == 1 else 'classes ' + names
            reason = f'no object to learn from ({len(empty)} of {len(classes)} classes)'
            kind = 'a class without any object to learn from'
            self.unused.append(Skip(self.place(), where, reason, kind, len(empty)))

    def _aspect_order(self) -> np.ndarray:
        shapes = self.records.shapes().astype(np.float64)
        if not shapes.all():
            raise DataError(f'rect=True of {type(self).__name__} needs every image size in its records')
        return np.argsort(shapes[:, 0] / shapes[:, 1], kind='stable')

    def _fill_cache(self) -> None:
        """Decode every image before workers are forked, so that all of them share one copy."""
        self.cached_images = {}

        load = next((step for step in self.transforms if isinstance(step, LoadImageFromFile)), LoadImageFromFile())

        def read(path: str) -> np.ndarray | UnreadableImageError:
            try:
                return read_shared(path, load.max_pixels)
            except UnreadableImageError as error:
                return error

        paths = list(dict.fromkeys(record.img_path for record in self.records))
        with ThreadPoolExecutor() as pool:
            for path, img in zip(paths, track(pool.map(read, paths), 'decode images', len(paths)), strict=True):
                if isinstance(img, UnreadableImageError):
                    self.skipped.append(Skip(path, None, img.reason))
                else:
                    self.cached_images[path] = img
        check_skips(self.skipped, len(self.records), self.max_skipped, self.data_root)


def check_choice(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ConfigError(f'{name}={value!r} is not one of {", ".join(map(repr, choices))}.{nearest(value, choices)}')
