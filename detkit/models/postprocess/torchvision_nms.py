"""torchvision's non-maximum suppression, without the import of torchvision."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

# torchvision's library of operators; the name depends on the release.
_LIBRARIES = ('_C_stable', '_C')


def nms(bboxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    """Return the indices of the boxes that greedy suppression keeps, best first.

    Args:
        bboxes: ``(N, 4)`` xyxy.
        scores: ``(N,)``.
        iou_thr: a box is suppressed when its IoU with a better one is above this.
    """
    load_operators()
    if bboxes.dtype in (torch.float16, torch.bfloat16):  # which autocast may give, and a CPU does not compare
        bboxes = bboxes.float()
    return torch.ops.torchvision.nms(bboxes, scores.to(bboxes.dtype), iou_thr)


@lru_cache(maxsize=1)
def load_operators() -> None:
    """Make ``torch.ops.torchvision`` complete.

    The library of the operators opens in milliseconds. The package also imports its models and ``torch._dynamo``, which
    takes as long as importing PyTorch; it is imported only where it has no such library.
    """
    spec = find_spec('torchvision')
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for library in (path for name in _LIBRARIES for path in folder.glob(f'{name}.*')):
        try:
            torch.ops.load_library(library)
            return
        except OSError:  # built for another PyTorch: torchvision says so
            continue
    import torchvision  # noqa: F401
