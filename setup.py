from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    for line in (ROOT / 'detkit' / '__init__.py').read_text(encoding='utf-8').splitlines():
        if line.startswith('__version__'):
            return line.split('=')[1].strip().strip('\'"')
    raise RuntimeError('detkit/__init__.py defines no __version__')


def read_readme() -> str:
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


class BuildWithConfigs(build_py):
    """Puts the folder configs into the package; an editable install finds it beside the package."""

    def run(self) -> None:
        built = Path(self.build_lib, 'detkit')
        if not self.editable_mode and built.resolve() != ROOT / 'detkit':
            # Files of an earlier build that the sources no longer have would get into the wheel.
            rmtree(built, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            target = built / 'configs'
            copytree(ROOT / 'configs', target, ignore=ignore_patterns('__pycache__'), dirs_exist_ok=True)


setup(
    name='detkit',
    version=read_version(),
    description='Detectors composed from registered parts: train, test and compare from one config file',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    packages=find_packages(include=['detkit', 'detkit.*']),
    cmdclass={'build_py': BuildWithConfigs},
    package_data={
        'detkit': ['py.typed'],
        'detkit.analysis': ['assets/*'],
        'detkit.serving': ['assets/*'],
        'detkit.zoo': ['entries.yaml'],
    },
    entry_points={'console_scripts': ['detkit=detkit.cli.main:main']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.2',
        'torchvision>=0.17',
        'mmengine>=0.10.7',
        'numpy',
        'matplotlib',
        'msgspec>=0.18',
        'opencv-python',
        'pillow',
        'pycocotools',
        'pysimdjson>=6',
        'rich',
        'scipy',
        'shtab>=1.7',
        'terminaltables',
    ],
    extras_require={
        'test': [
            'av>=17.1',
            'fastapi>=0.110',
            'faster-coco-eval>=1.8',
            'hotcoco>=1.3',
            'hypothesis',
            'motmetrics',
            'onnx>=1.16',
            'onnxruntime>=1.18',
            'openvino>=2024.1',
            'optuna>=3.6',
            'pandas',
            'pyarrow',
            'pytest>=7',
            'pytest-cov>=7',
            'pytest-xdist',
            'python-multipart>=0.0.18',
            'ruff',
            'setuptools>=77',
            'supervision',
            'trackers>=2.6',
            'uvicorn>=0.30',
        ],
        'tune': ['optuna>=3.6'],
        'video': ['av>=17.1'],
        'track': ['av>=17.1', 'trackers>=2.6'],
        'docs': [
            'mkdocs-material>=9.5',
            'mkdocstrings[python]>=0.26',
            # The last mkdocstrings for Python 3.10, 1.0.6, does not work with newer ones.
            'pymdown-extensions<12.1; python_version < "3.11"',
        ],
        'log': ['tensorboard'],
        'text': ['transformers>=4.40'],
        'fiftyone': ['fiftyone>=1.0'],
        'hf': ['datasets>=3.0'],
        'serve': ['fastapi>=0.110', 'python-multipart>=0.0.18', 'uvicorn>=0.30'],
        'eval': ['hotcoco>=1.3'],
        'export': ['onnx>=1.16', 'onnxruntime>=1.18', 'openvino>=2024.1'],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
)
