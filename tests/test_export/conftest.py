"""The pictures that an export draws where none are given are drawn once for all tests."""

from collections.abc import Iterator

import pytest
from drawn_scenes import drawn_scenes


@pytest.fixture(autouse=True, scope='module')
def _scenes_drawn_once_for_all_exports() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('detkit.sample_data.coco8.render_scenes', drawn_scenes)
        yield
