"""Training of several configs for a comparison."""

from pathlib import Path

import pytest

from detkit.analysis.runs import variants
from detkit.analysis.runs.variants import train_variants
from detkit.config import load_config
from detkit.engine.stop_signals import TrainingStopped
from detkit.utils.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / 'configs/yolov8'


@pytest.fixture
def narrow(tmp_path):
    path = tmp_path / 'narrow.py'
    path.write_text(f'_base_ = {str(CONFIGS / "det_n_coco8.py")!r}\nwiden_factor = 0.125\n')
    return path


def options(data):
    base = dict(data_root=str(data), repeat_times=1, img_size=64, num_workers=0, batch_size=2, max_epochs=1)
    return {**base, 'default_hooks.pictures': None}


@pytest.mark.thorough
def test_variants_are_trained_once(narrow, tiny_data, tmp_path, monkeypatch):
    configs = [CONFIGS / 'det_n_coco8.py', narrow]
    calls = []

    def stopping(*args, seed, **kwargs):
        calls.append((Path(args[0]).stem, seed))
        if len(calls) == 3:
            raise TrainingStopped('SIGTERM')
        return train_from_config(*args, seed=seed, **kwargs)

    train_from_config = variants.train_from_config
    monkeypatch.setattr(variants, 'train_from_config', stopping)
    with pytest.raises(TrainingStopped):
        train_variants(configs, tmp_path / 'runs', options(tiny_data), seeds=[0, 1], device='cpu')
    models = train_variants(configs, tmp_path / 'runs', options(tiny_data), seeds=[0, 1], device='cpu')
    names = ['det_n_coco8_seed0', 'det_n_coco8_seed1', 'narrow_seed0', 'narrow_seed1']
    assert [config.parent.name for config, _ in models] == names
    assert [load_config(config).randomness.seed for config, _ in models] == [0, 1, 0, 1]
    assert not list((tmp_path / 'runs').glob('*-2')), 'the runs that had ended are not made again'
    assert all(checkpoint.is_file() for _, checkpoint in models)


def test_configs_of_one_name_have_their_folder_s_too(narrow, tiny_data, tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(variants, 'train_from_config', lambda path, options, folder, **_: folders.append(Path(folder)))
    configs = ['yolov8/det_n_coco8', 'yolo11/det_n_coco8', narrow]
    train_variants(configs, tmp_path / 'runs', options(tiny_data))
    assert [folder.name for folder in folders] == ['yolov8_det_n_coco8', 'yolo11_det_n_coco8', 'narrow']


def test_wrong_configs_are_refused_before_training(narrow, tiny_data, tmp_path):
    with pytest.raises(ConfigError, match="2 configs are called 'narrow'"):
        train_variants([narrow, narrow], tmp_path / 'runs', options(tiny_data))
    with pytest.raises(ConfigError, match='the seeds 1, 1 are not different'):
        train_variants([narrow], tmp_path / 'runs', options(tiny_data), seeds=[1, 1])
    (tmp_path / 'wrong.py').write_text(narrow.read_text() + 'widen_fator = 1\n')
    with pytest.raises(ConfigError, match='widen_fator'):
        train_variants([narrow, tmp_path / 'wrong.py'], tmp_path / 'runs', options(tiny_data))
    with pytest.raises(ConfigError, match='no metric in common .det_n_coco8: bbox; cls_weather: label'):
        train_variants([CONFIGS / 'det_n_coco8.py', CONFIGS.parent / 'yolov5' / 'cls_weather.py'], tmp_path / 'runs')
    assert not (tmp_path / 'runs').exists()
