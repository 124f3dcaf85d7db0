"""``Results``: the predictions on the images of a source."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from detkit.config.words import no_attribute
from detkit.inference import result_exports, result_files
from detkit.inference.drawn_output import check_sources_spared
from detkit.inference.result import Result, counted
from detkit.utils.call_options import takes
from detkit.utils.pictures import UniqueNames
from detkit.utils.streams import AddRows, csv_table
from detkit.utils.tables import write_json
from detkit.visualization import DrawingOptions

if TYPE_CHECKING:
    import pandas


class Results(list[Result]):
    """A list of results, one an image of the source, in its order."""

    def __getitem__(self, index: SupportsIndex | slice) -> Result | Results:
        found = super().__getitem__(index)
        return Results(found) if isinstance(index, slice) else found

    def __add__(self, others: list[Result]) -> Results:
        return Results([*self, *others])

    def __getattr__(self, name: str) -> Any:
        # Only called where there is none.
        of_each = not name.startswith('_') and (name in Result.__dataclass_fields__ or hasattr(Result, name))
        hint = f'each result has it: results[0].{name}, or [result.{name} for result in results]' if of_each else ''
        raise no_attribute(self, name, hint)

    @property
    def errors(self) -> dict[str, str]:
        """The images that could not be read, and why."""
        return {result.img_path: result.error for result in self if result.error is not None}

    @takes(DrawingOptions)
    def save(self, folder: str | os.PathLike, **options: Any) -> list[Path]:
        """Write a picture of each image that could be read into a folder, and return the files.

        Args:
            folder: it is made where it is missing.
            options: as of ``Result.plot``.

        Raises:
            ConfigError: it is no folder, but a file; or images lie in it, which pictures would be written over.
        """
        folder = Path(folder)
        check_sources_spared((result.source for result in self), folder)
        return [result.save(folder / f'{stem}.jpg', **options) for result, stem in self._stems()]

    def save_yolo(self, folder: str | os.PathLike, scores: bool = False) -> list[Path]:
        """Write YOLO's label file of each image that could be read, see ``Result.to_yolo``, and return the files."""
        return [result.save_yolo(Path(folder) / f'{stem}.txt', scores) for result, stem in self._stems()]

    def save_crops(self, folder: str | os.PathLike, margin: float = 0.0) -> list[Path]:
        """Write the part of the images in each box, see ``Result.save_crops``, and return the files."""
        return [path for result, stem in self._stems() for path in result.save_crops(folder, stem, margin)]

    def save_csv(self, path: str | os.PathLike) -> Path:
        """Write a table with a row an object, see ``Result.rows``, and return its path; its folder is made."""
        with csv_table(path) as add:
            self._write_rows(add)
        return Path(path)

    def save_parquet(self, path: str | os.PathLike) -> Path:
        """Write the table of ``save_csv`` as a Parquet file, and return its path; needs the package pyarrow."""
        with result_files.parquet_table(path) as add:
            self._write_rows(add)
        return Path(path)

    def _stems(self) -> list[tuple[Result, str]]:
        """Return the results of images that could be read, each with the stem of its files.

        It is the image's; of images in several folders that share a stem, the later ones get '-2', '-3' and so on.
        """
        names = UniqueNames()
        return [(result, names.name(Path(result.img_path).stem)) for result in self if result.error is None]

    def _write_rows(self, add: AddRows) -> None:
        readable = [result for result in self if result.error is None]
        for result in readable or self[:1]:
            add(result.rows(), result.columns)

    def to_coco(self, category_ids: Sequence[int | str] | None = None) -> list[dict[str, Any]]:
        """Return the entries of COCO's results file, see ``Result.to_coco``."""
        return [entry for result in self for entry in result.to_coco(category_ids=category_ids)]

    def save_coco(self, path: str | os.PathLike, category_ids: Sequence[int | str] | None = None) -> Path:
        """Write COCO's results file, see ``to_coco``, and return its path; its folder is made."""
        write_json(path, self.to_coco(category_ids))
        return Path(path)

    def to_json(self) -> str:
        """Return a JSON list of what ``Result.to_dict`` returns."""
        return json.dumps([result.to_dict() for result in self])

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row an object; needs the package pandas."""
        return result_exports.to_pandas([row for result in self for row in result.rows()])

    def __repr__(self) -> str:
        images = f'{len(self)} image{"" if len(self) == 1 else "s"}'
        unread = f', {len(self.errors)} could not be read' if self.errors else ''
        best = [name for result in self for name in (result.names if result.probs is None else result.names[:1])]
        return f'<Results of {images}{unread}: {counted(best)}>'
