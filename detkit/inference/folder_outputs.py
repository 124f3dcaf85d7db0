"""``FolderOutputs``: the files that ``detkit predict`` writes, named in one place. It is imported without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from detkit.utils.call_options import CallOptions, check_flag, option
from detkit.utils.errors import ConfigError


@dataclass(frozen=True)
class FolderOutputs(CallOptions):
    """The files of a prediction into a folder.

    Attributes:
        pictures: a picture of each image with what was found, ``<stem>.jpg``.
        save_json: ``predictions.json``: a list of entries as in COCO's results files, with ``file_name`` and
            ``category_name`` besides (``category_id`` counts from 0, as labels do); from a classifier one entry an
            image with its five most probable classes in ``top5``; of rotated boxes also ``rbbox`` and ``corners``; of
            a head that divides the whole image one entry a segment.
        save_txt: ``labels/<stem>.txt``, YOLO's label file of each image, see ``Result.to_yolo``.
        save_scores: the label files end each line with the score; they are then for people and tools, as no reader of
            label files expects it.
        save_csv: ``predictions.csv``, a row an object, see ``Result.rows``.
        save_parquet: ``predictions.parquet``, the same table; needs the package pyarrow.
        save_crops: ``crops/<class>/<stem>_<index>.jpg``, the part of the image in each box.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """

    pictures: bool = option(True, 'write a picture of each image (default: yes)', check_flag)
    save_json: bool = option(True, "write predictions.json, COCO's results format (default: yes)", check_flag)
    save_txt: bool = option(False, "write YOLO's label file of each image into labels/", check_flag)
    save_scores: bool = option(False, 'with --save-txt, end each line with the score', check_flag, ['--save-conf'])
    save_csv: bool = option(False, 'write predictions.csv, a row an object', check_flag)
    save_parquet: bool = option(False, 'write predictions.parquet, a row an object (needs pyarrow)', check_flag)
    save_crops: bool = option(
        False, 'write the part of the image in each box into crops/<class>/', check_flag, ['--save-crop']
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.save_scores and not self.save_txt:
            raise ConfigError('save_scores is about label files, which are not written; set save_txt, too')
