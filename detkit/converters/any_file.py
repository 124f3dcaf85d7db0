"""``load_foreign``: a weights file of any project that can be converted -> a checkpoint of detkit, in memory."""

from __future__ import annotations

from pathlib import Path

from detkit.converters.common import Conversion, is_checkpoint
from detkit.converters.darknet import load_darknet
from detkit.converters.deim import load_deimv2
from detkit.converters.deim_layout import layout_of as deimv2_layout_of
from detkit.converters.detr import load_detr
from detkit.converters.detr_file import NoDETRError, read_state
from detkit.converters.file_checks import names_the_file
from detkit.converters.inert_pickle import StandIn, TorchArchive
from detkit.converters.pickled_model import load_pickled
from detkit.converters.rfdetr import load_rfdetr
from detkit.converters.rfdetr_layout import layout_of
from detkit.converters.rtdetr import family_of, load_family
from detkit.converters.torchvision import load_torchvision
from detkit.converters.torchvision_model import current_names
from detkit.converters.torchvision_model import family_of as torchvision_family_of
from detkit.converters.ultralytics import read_ultralytics
from detkit.converters.yolov5 import read_yolov5
from detkit.converters.yolox import load_yolox
from detkit.converters.yolox_keys import is_darknet
from detkit.utils.errors import CheckpointError
from detkit.utils.torch_files import is_zip

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
    if source.suffix.lower() == '.weights':
        return load_darknet(source, configs)
    if is_zip(source):
        with TorchArchive(source) as archive:
            whole_model = _whole_model(archive.content)
        if whole_model is not None:
            read = read_ultralytics if whole_model.path.startswith('ultralytics.') else read_yolov5
            return load_pickled(source, configs, read)
    try:
        tensors = read_state(source)[1]
        if layout_of(tensors) is not None:
            return load_rfdetr(source, configs)
        if deimv2_layout_of(tensors) is not None:
            return load_deimv2(source, configs)
        if (family := family_of(tensors, source)) is not None:
            return load_family(source, family, configs)
        if torchvision_family_of(current_names(tensors))[0] is not None:
            return load_torchvision(source, configs)
        if is_darknet(tensors) is not None:
            return load_yolox(source, configs)
        return load_detr(source, configs)
    except NoDETRError as error:
        raise CheckpointError(
            f'{source} {error.found}; give a checkpoint of detkit, a whole model of ultralytics or YOLOv5, a YOLOX, '
            "DETR, RT-DETR, D-FINE or RF-DETR, a detector of torchvision, or Darknet's .weights, copied whole"
        ) from error


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
