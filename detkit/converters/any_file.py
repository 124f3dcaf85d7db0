"""``load_foreign``: a weights file of any project that can be converted -> a checkpoint of detkit, in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from detkit.converters.common import Conversion, is_checkpoint
from detkit.converters.darknet import load_darknet
from detkit.converters.deim import load_deimv2
from detkit.converters.deim_layout import layout_of as deimv2_layout_of
from detkit.converters.detr import load_detr
from detkit.converters.detr_file import layout_of as detr_layout_of
from detkit.converters.file_checks import names_the_file
from detkit.converters.inert_pickle import StandIn, TorchArchive
from detkit.converters.pickled_model import load_pickled
from detkit.converters.rfdetr import load_rfdetr
from detkit.converters.rfdetr_layout import layout_of
from detkit.converters.rtdetr import family_of, load_family
from detkit.converters.rtdetr_families import FAMILIES
from detkit.converters.torchvision import load_torchvision
from detkit.converters.torchvision_model import current_names
from detkit.converters.torchvision_model import family_of as torchvision_family_of
from detkit.converters.ultralytics import read_ultralytics
from detkit.converters.weights_file import NoDETRError, read_state
from detkit.converters.yolov5 import read_yolov5
from detkit.converters.yolox import load_yolox
from detkit.converters.yolox_keys import is_darknet
from detkit.utils.errors import CheckpointError
from detkit.utils.torch_files import is_zip

_LOADERS = dict(
    ultralytics=partial(load_pickled, read=read_ultralytics),
    yolov5=partial(load_pickled, read=read_yolov5),
    darknet=load_darknet,
    rfdetr=load_rfdetr,
    deimv2=load_deimv2,
    torchvision=load_torchvision,
    yolox=load_yolox,
    detr=load_detr,
)
# The projects whose files hold the model itself, by the package of its class: YOLOv5's repository and its package.
_WHOLE_MODELS = dict(ultralytics='ultralytics', models='yolov5', yolov5='yolov5')
# Suffixes of the files that other projects write.
FOREIGN_SUFFIXES = ('.pt', '.weights', '.safetensors', '.bin', '.pth')


@names_the_file
def load_foreign(source: str | Path, configs: str | Path) -> Conversion:
    """Convert a file without writing anything; its content says which project wrote it. Nothing in it is run.

    Args:
        source: a YOLOv8, YOLOv10, YOLO11 or YOLO26 of ultralytics, a YOLOv5 (``.pt``), a YOLOv3 of Darknet
            (``.weights``), a YOLOX (``.pth``), a DETR, RT-DETR, D-FINE, DEIMv2 or RF-DETR of its authors or of the
            Hugging Face Hub (``.pth``, ``.safetensors``, ``.bin``), or a Faster, Mask or Keypoint R-CNN, RetinaNet or
            FCOS of torchvision (``.pth``).
        configs: detkit's folder of that name, whose configs describe the models.

    Raises:
        CheckpointError: the file is missing, damaged, or of a model that detkit does not have.
    """
    source, configs = Path(source), Path(configs)
    try:
        project = project_of(source) or 'detr'
        if project in FAMILIES:
            return load_family(source, FAMILIES[project], configs)
        return _LOADERS[project](source, configs)
    except NoDETRError as error:
        raise CheckpointError(
            f'{source} {error.found}; give a checkpoint of detkit, a whole model of ultralytics or YOLOv5, a YOLOX, '
            "DETR, RT-DETR, D-FINE or RF-DETR, a detector of torchvision, or Darknet's .weights, copied whole"
        ) from error


def project_of(source: Path) -> str | None:
    """Return the project that wrote a file, as ``detkit convert`` names it; None where no converter takes the file.

    Raises:
        CheckpointError: the file is missing or damaged, or holds no weights.
    """
    if source.suffix.lower() == '.weights':
        return 'darknet'
    if is_zip(source):
        with TorchArchive(source) as archive:
            whole_model = _whole_model(archive.content)
        if whole_model is not None:
            return _WHOLE_MODELS.get(whole_model.path.partition('.')[0])
    tensors = read_state(source)[1]
    if layout_of(tensors) is not None:
        return 'rfdetr'
    if deimv2_layout_of(tensors) is not None:
        return 'deimv2'
    if (family := family_of(tensors, source)) is not None:
        return family.key
    if torchvision_family_of(current_names(tensors))[0] is not None:
        return 'torchvision'
    if is_darknet(tensors) is not None:
        return 'yolox'
    return None if detr_layout_of(tensors) is None else 'detr'


def is_foreign(source: Path) -> bool:
    """Return whether a file is one for ``load_foreign`` rather than a checkpoint of detkit.

    Raises:
        CheckpointError: it is a zip archive that is damaged.
    """
    return not is_checkpoint(source) if is_zip(source) else source.suffix.lower() in FOREIGN_SUFFIXES


def _whole_model(content: object) -> StandIn | None:
    """Return the object that a file of a YOLO project holds: the averaged model, or the model; None where it has none.

    A file that holds an object alone, which is no such model, is refused by the project's converter with a sentence.
    """
    if isinstance(content, StandIn):
        return content
    found = [content.get(key) for key in ('ema', 'model')] if isinstance(content, dict) else []
    return next((model for model in found if isinstance(model, StandIn)), None)
