"""A folder with what the commands and snippets of the documentation name: tiny data, files of weights, runs.

Data are written once. Weights and runs are made when a command first names them, and kept for the others.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from docs_files import (
    any_image,
    raise_scores,
    write_clip,
    write_darknet,
    write_darknet53,
    write_detr,
    write_ultralytics,
    write_yolov5,
)
from documented import REPO
from parity.darknet_streams import cfg_path
from small_models import write_images
from tiny_data import write_tiny_data
from tiny_voc import object_xml, write_voc

from detkit.cli.main import main, make_parser
from detkit.config import find_config, load_config

# Variables of configs, and the values with which they are small. A config takes those that it has.
SMALL = {'img_size': 64, 'num_workers': 0, 'batch_size': 2, 'val_batch_size': 2, 'repeat_times': 1}
# Arguments of commands, and the values with which they take no seconds; timing has tests of its own.
QUICK = dict(seconds=0.1, rounds=2, memory=False, latency=False, steps=20, trials=1, replicates=50)
_SIZES = {'yolov8': 'n', 'yolov5': 'n', 'yolov3': 'tiny', 'detr': 'r18'}
_SMALL_DETR = {'pretrained': None, 'model.head.num_queries': 7} | {
    f'model.head.transformer.{key}': value
    for key, value in dict(
        embed_dims=64, num_heads=8, num_encoder_layers=1, num_decoder_layers=2, feedforward_dims=40
    ).items()
}
SMALL_SEARCH = {'img_size': 64, 'num_workers': 0, 'batch_size': 2, 'max_epochs': 1, 'default_hooks.pictures': None}
# Runs that the pages speak of, and their configs.
RUNS = {
    'a': 'yolov8/det_n_coco8',
    'b': 'yolov8/det_n_coco8',
    'n': 'yolov8/det_n_coco8',
    'n_plain': 'yolov8/det_n_coco8',
    'n_192': 'yolov8/det_n_coco8',
    'my_search-tune/trial_0002': 'yolov8/det_n_coco8',
    'my_search-tune/trial_0007': 'yolov8/det_n_coco8',
    'seg_n_coco8': 'yolov8/seg_n_coco8',
    'seg_custom': 'yolov8/seg_custom',
    'det_custom': 'yolov8/det_custom',
    'det_n_coco8': 'yolov5/det_n_coco8',
    'v5': 'yolov5/det_n_coco8',
    'v8': 'yolov8/det_n_coco8',
    'cls_weather': 'yolov5/cls_weather',
    'cls_weather_gap': 'yolov5/cls_weather',
    'det_coco': 'detr/det_coco',
    'det_panoptic': 'detr/det_panoptic',
    'panoptic_coco': 'detr/panoptic_coco',
}
# Folders of `/data`, and those of the tiny data; `mine` is another one for each task.
_DATA = {
    'coco128-seg': '',
    'coco128': '',
    'coco': 'coco',
    'VOCdevkit': 'voc',
    'coco8-pose': 'pose',
    'dota8': 'obb',
    'DOTA': 'dota',
    'weather': 'weather',
    'imagenet': 'imagenet',
    'classes': 'custom',
    'poses': 'pose_custom',
    'rotated': 'obb',
}
_MINE = {'cls': 'classes', 'pose': 'poses', 'obb': 'rotated'}


class DocsWorkspace:
    """Makes folders in which documented commands find the files that they name.

    Args:
        root: a folder for what all of them share.
        tiny_data: the fixture of that name.
    """

    def __init__(self, root: Path, tiny_data: Path) -> None:
        self.root, self.tiny_data = root, tiny_data
        self._write_data(root / 'data')
        self._makers: dict[str, Callable[[Path], object]] = {
            'photo.jpg': lambda path: cv2.imwrite(str(path), any_image(tiny_data)),
            **dict.fromkeys(('my_pictures', 'photos'), lambda path: write_images(path, 2)),
            **{
                f'yolov8{size}{suffix}.pt': lambda path, task=task: write_ultralytics(path, task)
                for size in 'n'
                for suffix, task in (('', 'det'), ('-seg', 'seg'), ('-cls', 'cls'))
            },
            'downloads/yolov8n.pt': lambda path: write_ultralytics(path, 'det'),
            **dict.fromkeys(('yolov5n.pt', 'yolov5s.pt'), write_yolov5),
            **dict.fromkeys(('yolov3-spp.weights', 'mine.weights'), write_darknet),
            **dict.fromkeys(('my_baseline.py', 'my_variant.py'), self._write_trained_config),
            **{
                name: lambda path: cv2.imwrite(str(path), cv2.resize(any_image(tiny_data), (130, 90)))
                for name in ('scene.png', 'huge.png')
            },
            'scene.npy': lambda path: np.save(path, any_image(tiny_data)),
            'clip.mp4': write_clip,
            'mine.cfg': lambda path: shutil.copy(cfg_path('yolov3_tiny'), path),
            'mine.names': lambda path: path.write_text(''.join(f'class {number}\n' for number in range(80))),
            **dict.fromkeys(('darknet53.conv.74', 'downloads/darknet53.conv.74'), write_darknet53),
            **dict.fromkeys(
                ('detr-r50.pth', 'detr-r50-e632da11.pth'), lambda path: write_detr(path, {'size': 'r18', **_SMALL_DETR})
            ),
            **{
                name: lambda path, words=words: self._convert(path, *words)
                for name, words in {
                    'yolov8n.pth': ('ultralytics', 'yolov8n.pt'),
                    'yolov8n-seg.pth': ('ultralytics', 'yolov8n-seg.pt'),
                    'yolov5s.pth': ('yolov5', 'yolov5s.pt'),
                    'yolov3-spp.pth': ('darknet', 'yolov3-spp.weights'),
                    'darknet53.pth': ('darknet', 'darknet53.conv.74'),
                    'detr_r50.pth': ('detr', 'detr-r50.pth'),
                }.items()
            },
        }

    def fill(self, folder: Path, words: Iterable[str]) -> None:
        """Write data, and what ``words`` name beside them, into an empty folder."""
        words = list(words)
        (folder / 'data').mkdir()
        for path in (self.root / 'data').iterdir():
            (folder / 'data' / path.name).symlink_to(path)
        for name in ('configs', 'tools'):
            (folder / name).symlink_to(REPO / name)
        (folder / 'cells').symlink_to(self.root / 'cells')
        if 'tile-dota' not in words:  # which writes there
            (folder / 'data' / 'dota').symlink_to(self.tiny_data / 'dota')
        (folder / 'path').mkdir()
        (folder / 'path' / 'to').symlink_to(self.root / 'data' / 'mine')
        for name in ('data.yaml', 'mine.yaml'):
            (folder / name).write_text(f'path: {self.root / "data" / "mine"}\n' + MINE_YAML)
        (folder / 'my_config.py').write_text(MY_CONFIG)
        (folder / 'zoo.yaml').write_text(ZOO)
        for word in words:
            self._add(folder, word)
        if '--resume' in words:
            self._add(folder, f'work_dirs/{Path(words[1]).stem}')
        if any(word.rpartition('=')[2] == 'best.pth' for word in words):
            (folder / 'best.pth').symlink_to(self._best_weights(words))

    def _add(self, folder: Path, word: str) -> None:
        """Put the file or the run that a word or an option's value names into ``folder``; nothing for another word."""
        name = word.rpartition('=')[2]
        for run in RUNS if name.startswith('work_dirs/') else ():
            target = folder / 'work_dirs' / run
            several = '*' in name and (name != 'work_dirs/*' or run in 'ab')  # of all, two will do
            named = fnmatch(f'work_dirs/{run}', name) if several else f'{name}/'.startswith(f'work_dirs/{run}/')
            if named and not target.exists():
                copy_run(self._run(RUNS[run]), target)
        base = name.rstrip('/')
        for made in ZOO_FILES.get(word, ZOO_FILES.get(base, (base,))):
            if made in self._makers and not (folder / made).exists():
                (folder / made).parent.mkdir(parents=True, exist_ok=True)
                (folder / made).symlink_to(self._file(made))

    def _best_weights(self, words: Iterable[str]) -> Path:
        """Return the checkpoint that ``best.pth`` means beside a config of a family, or beside Darknet's files."""
        config = {
            'voc': 'yolov5/det_voc',
            'dota': 'yolov8/obb_n_dota8',
            'darknet': 'yolov3/det_spp_coco8',
            '': 'yolov8/seg_n_coco8',
        }
        kind = next(kind for kind in config if kind in ' '.join(words))
        return self._run(config[kind]) / 'best.pth'

    def _file(self, name: str) -> Path:
        path = self.root / 'files' / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._makers[name](path)
        return path

    def _convert(self, path: Path, project: str, source: str) -> None:
        assert main(['convert', project, str(self._file(source)), str(path)]) == 0

    def _write_trained_config(self, path: Path) -> None:
        """Write a config that starts from weights that find something."""
        path.write_text(f'{MY_CONFIG}load_from = {str(self._run("yolov8/det_n_coco8") / "best.pth")!r}\n')

    def _run(self, config: str) -> Path:
        """Return the folder of a run of one epoch."""
        path = self.root / 'runs' / config
        if not path.exists():
            words = ['train', config, '--work-dir', str(path)]
            if config.endswith('_custom'):
                words += ['--cfg-options', f'data_yaml={self.root}/data/mine/data.yaml']
            folder = Path.cwd()
            os.chdir(self.root)
            try:
                args = small_arguments('train', words)
                args.command.module.run(args)
            finally:
                os.chdir(folder)
            for name in ('best.pth', 'last.pth'):
                raise_scores(path / name)
        return path

    def _write_data(self, data: Path) -> None:
        data.mkdir(parents=True)
        tiny = self.tiny_data
        for part in ('annotations', 'train2017', 'val2017'):
            _link_all(data / 'coco' / part, *(folder / part for folder in (tiny, tiny / 'pose', tiny / 'panoptic')))
        for name in ('coco8-seg', 'drawn'):
            (data / name).mkdir()
            write_tiny_data(data / name, count=4)
        for name, folder in _DATA.items():
            if folder != 'coco':
                (data / name).symlink_to(tiny / folder)
        _write_mine(data / 'mine', tiny)
        write_images(self.root / 'cells', 1)
        (self.root / 'cells' / 'train.csv').write_text('image,class,x0,y0,x1,y1\n0.png,cell,10,10,40,40\n')


MY_CONFIG = "_base_ = 'detkit::yolov8/det_n_coco8'\n"
MINE_YAML = 'train: images/train\nval: images/val\nnames: [bolt, nut]\n'
# Published weights, as files of this folder.
ZOO = """
families:
- {family: YOLOv8, converter: ultralytics, licence: AGPL-3.0, url: '{name}.pt', task: det, config: yolov8/det_coco,
   measured: nothing, metrics: [], entries: {yolov8n: {size: n, values: []}}}
- {family: YOLOv8, converter: ultralytics, licence: AGPL-3.0, url: '{name}.pt', task: seg, config: yolov8/seg_coco,
   measured: nothing, metrics: [], entries: {yolov8n-seg: {size: n, values: []}}}
- {family: DETR, converter: detr, licence: Apache-2.0, url: '{name}.pth', task: det, config: detr/det_coco,
   measured: nothing, metrics: [], entries: {detr-r50: {size: r18, values: []}}}
- {family: Darknet, converter: darknet, licence: public domain, url: 'downloads/{name}', task: backbone, config: '',
   measured: nothing, metrics: [], entries: {darknet53.conv.74: {values: []}}}
"""
ZOO_FILES = {
    'yolov8n': ('yolov8n.pt',),
    'yolov8n-seg': ('yolov8n-seg.pt',),
    'detr-r50': ('detr-r50.pth',),
    'model.backbone.weights=darknet53.conv.74': ('downloads/darknet53.conv.74',),
}


def _link_all(folder: Path, *sources: Path) -> None:
    """Make folders of what several folders hold; files are links, and those of an earlier one win."""
    for source in sources:
        for path in sorted(source.rglob('*')):
            target = folder / path.relative_to(source)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)


def _write_mine(folder: Path, tiny: Path) -> None:
    """Write a dataset of bolts and nuts with YOLO's, COCO's and VOC's files."""
    folder.mkdir()
    (folder / 'data.yaml').write_text(MINE_YAML)
    for split in ('train', 'val'):
        (folder / 'images').mkdir(exist_ok=True)
        (folder / 'images' / split).symlink_to(tiny / 'images' / split)
        (folder / split).symlink_to(tiny / f'{split}2017')
        (folder / f'{split}.json').symlink_to(tiny / 'annotations' / f'instances_{split}2017.json')
        labels = folder / 'labels' / split
        labels.mkdir(parents=True)
        for path in (tiny / 'labels' / split).iterdir():
            (labels / path.name).write_text(re.sub(r'^16 ', '1 ', path.read_text(), flags=re.MULTILINE))
    for path in (tiny / 'images' / 'train').iterdir():
        (folder / 'images' / path.name).symlink_to(path)
    (folder / 'all.json').symlink_to(tiny / 'annotations' / 'instances_train2017.json')
    objects = [object_xml('bolt', (5, 5, 30, 30)), object_xml('nut', (20, 20, 50, 50))]
    names = {'train': ['a', 'b'], 'val': ['c', 'd']}
    write_voc(folder, {name: objects for own in names.values() for name in own}, names)


def copy_run(source: Path, target: Path) -> None:
    """Copy a run's folder; its checkpoints, which are never written in place, as hard links."""
    shutil.copytree(
        source, target, copy_function=lambda a, b: os.link(a, b) if a.endswith('.pth') else shutil.copy(a, b)
    )


def map_text(text: str, folder: Path) -> str:
    """Return a text with the folder in place of the root of somebody's machine, below which the data are."""
    return text.replace("'/data/", f"'{folder}/data/")


def map_words(words: Iterable[str], folder: Path) -> list[str]:
    """Return words of a command with the places of this folder in place of those of somebody's machine."""
    words = list(words)
    task = next((found[1] for word in words if (found := re.search(r'\b(det|seg|pose|obb|cls)_', word))), '')
    mine = _MINE.get(task, 'mine')
    words = [re.sub(r'(^|=)/?(path/to|data/mine)\b', rf'\1{folder}/data/{mine}', word) for word in words]
    return [re.sub(r'(^|=)/data/', rf'\1{folder}/data/', word) for word in words]


_parser = cache(make_parser)  # it takes as long to make as some of the commands


def small_arguments(name: str, words: list[str]) -> argparse.Namespace:
    """Return the arguments of a command as its parser reads them, with settings that make it quick.

    Its own options are tried first: a config is loaded with them as they are written.

    Args:
        name: the command.
        words: its arguments, the name included.
    """
    args = _parser().parse_args(words)
    given = vars(args)
    if given.get('device', '') is None:
        args.device = 'cpu'
    for key, value in QUICK.items():
        if given.get(key) is not None or key == 'rounds' and key in given:
            setattr(args, key, value)
    if given.get('seeds'):
        args.seeds = args.seeds[:1]
    if name in ('predict', 'analyze benchmark') and not given.get('train'):
        args.img_size = 64
    if 'cfg_options' in given and name not in ('analyze print-config', 'analyze plot-schedule'):
        configs = given.get('configs') or [given.get('config') or next(iter(given.get('models', ())), '-')]
        resumed = Path('work_dirs', Path(configs[0]).stem, 'config.py')
        if given.get('resume') and resumed.is_file():  # whose options are those of the run
            configs = [str(resumed)]
        if configs[0] != '-':
            num_epochs = {'train': 2 if given.get('resume') else 1, 'tune': 1, 'compare': 1}.get(name)
            args.cfg_options = _small_options(configs, args.cfg_options or [], num_epochs, _has_own_weights(words))
    return args


def _has_own_weights(words: Iterable[str]) -> bool:
    """Return whether a command takes weights that no run of this workspace has made."""
    values = [word.rpartition('=')[2] for word in words]
    return any(re.search(r'(?<!/best|/last)\.(pth?|weights)$', f'/{value}') or value in ZOO_FILES for value in values)


def _small_options(configs: list[str], options: list[str], num_epochs: int | None, own_weights: bool) -> list[str]:
    loaded = [load_config(config, options, need_classes=False) for config in configs]
    small = dict(SMALL) if own_weights else dict(SMALL, widen_factor=0.125)
    if num_epochs:
        small |= {'max_epochs': num_epochs, 'default_hooks.pictures': None}
    for config, cfg in zip(configs, loaded, strict=True):
        family = find_config(config).parent.name if find_config(config) else ''
        if 'size' in cfg and family in _SIZES and 'darknet53' not in ' '.join(options):  # which fits one size alone
            small['size'] = _SIZES[family]
        if cfg.model.type == 'DETR':
            small |= _SMALL_DETR
    small = {key: value for key, value in small.items() if '.' in key or all(key in cfg for cfg in loaded)}
    kept = [option for option in options if option.partition('=')[0] not in small]
    return kept + [f'{key}={value}' for key, value in small.items()]
