"""``CLIPTextEncoder``: vectors of names by the text encoder of a CLIP model."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from detkit.protocols import TextEncoder
from detkit.registry import TEXT_ENCODERS
from detkit.utils.cache import cache_folder
from detkit.utils.errors import CheckpointError, ConfigError, DataError, MissingPackageError, first_line, shorten
from detkit.utils.usage_data import without_usage_data

from .embedding_file import read_vectors, save_embeddings, unit_rows

_AT_A_TIME = 256
_MOST_KEPT = 20000  # names in a file of the cache; the oldest go first


@TEXT_ENCODERS.register_module()
class CLIPTextEncoder(TextEncoder):
    """Encoder by CLIP's text transformer (https://arxiv.org/abs/2103.00020), run by the package transformers.

    It is loaded when a name is asked for that is not in the cache: vectors are kept in
    ``<cache folder>/text_embeddings``, a file for each model and template, so that names which were encoded once need
    neither the package nor the model. A folder whose files change is another model. A kept file that is damaged is
    written anew, and where none can be written, names are encoded each time, with a line in the log.

    Args:
        model: a folder that holds the model and its tokenizer, or the model's name on the Hugging Face Hub, from which
            it is downloaded on first use.
        dims: D, length of the vectors.
        template: the text of a name, in which ``{}`` stands for the name.

    Raises:
        ConfigError: the template lacks ``{}``.
    """

    def __init__(self, model: str = 'openai/clip-vit-base-patch32', dims: int = 512, template: str = '{}') -> None:
        if template.count('{}') != 1:
            raise ConfigError(f"CLIPTextEncoder: template is {template!r}; it must hold '{{}}' once, for the name")
        self.model = model
        self.dims = dims
        self.template = template
        self._loaded: tuple[Any, Any] | None = None

    @property
    def cache_file(self) -> Path:
        """The file that keeps the vectors."""
        model, folder = self.model, Path(self.model)
        if folder.is_dir():
            states = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
            model = str([folder.resolve(), *((name, state.st_size, state.st_mtime_ns) for name, state in states)])
        stem = re.sub(r'\W+', '_', folder.name)
        digest = hashlib.sha256(f'{model}\n{self.template}'.encode()).hexdigest()[:12]
        return cache_folder() / 'text_embeddings' / f'{stem}-{digest}.npz'

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Return vectors of length 1, ``(len(names), D)`` float32.

        Raises:
            MissingPackageError: a name is not in the cache, and the package transformers is not installed.
            CheckpointError: the model cannot be loaded.
            ConfigError: its vectors have another length than ``dims``.
        """
        # The cache holds what the model returns, so that a name has the same vector when it is read from there.
        file = self.cache_file
        known = {name: vector for name, vector in _kept(file).items() if len(vector) == self.dims}
        missing = [name for name in dict.fromkeys(names) if name not in known]
        if missing:
            known |= dict(zip(missing, self._encode(missing), strict=True))
            kept = dict(list(known.items())[-_MOST_KEPT:])
            try:
                save_embeddings(file, list(kept), torch.stack(list(kept.values())))
            except OSError as error:
                _warn(f'text embeddings cannot be kept in {file.parent} ({error.strerror or error}): set DETKIT_CACHE')
        return unit_rows(torch.stack([known[name] for name in names])) if names else torch.zeros(0, self.dims)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), '_loaded': None}  # copies of a detector need not hold the transformer

    @torch.no_grad()
    def _encode(self, names: Sequence[str]) -> Tensor:
        tokenizer, encoder = self._load()
        parts = []
        for start in range(0, len(names), _AT_A_TIME):
            texts = [self.template.format(name) for name in names[start : start + _AT_A_TIME]]
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors='pt')
            parts.append(encoder(**tokens).text_embeds.float())
        vectors = torch.cat(parts)
        if vectors.shape[1] != self.dims:
            raise ConfigError(
                f'CLIPTextEncoder: {self.model} has vectors of {vectors.shape[1]} numbers, but dims is {self.dims}; '
                f'write text_encoder.dims={vectors.shape[1]} to train a model for it'
            )
        return vectors

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                with without_usage_data():
                    from transformers import AutoTokenizer, CLIPTextModelWithProjection
                    from transformers.utils import logging
            except ImportError as error:
                raise MissingPackageError(
                    'CLIPTextEncoder needs the package transformers: pip install detkit[text]. Without it, give the '
                    "embeddings as a file: text_encoder=dict(type='EmbeddingFile', path='names.npz')"
                ) from error
            verbosity = logging.get_verbosity()
            logging.set_verbosity_error()  # it would list the weights of the images' half, which are not needed here
            try:
                with without_usage_data():
                    tokenizer = AutoTokenizer.from_pretrained(self.model)
                    encoder, info = CLIPTextModelWithProjection.from_pretrained(self.model, output_loading_info=True)
            except Exception as error:  # of the packages below transformers, some of which raise Exception itself
                raise CheckpointError(
                    f'the CLIP text encoder {self.model!r} cannot be loaded ({first_line(error)}). Give a folder with '
                    'the model and its tokenizer, or the name of a model on the Hugging Face Hub'
                ) from error
            finally:
                logging.set_verbosity(verbosity)
            missing = [name for name in info['missing_keys'] if not name.endswith('position_ids')]
            if missing:  # transformers gives these random values
                raise CheckpointError(
                    f'{self.model!r} is no CLIP text encoder with a projection: it lacks {shorten(sorted(missing))}. '
                    'Give a folder with a whole CLIP model, or the name of one on the Hugging Face Hub'
                )
            self._loaded = tokenizer, encoder.eval().float()
        return self._loaded


def _kept(file: Path) -> dict[str, Tensor]:
    """Return the vectors that a file of the cache holds, none where it is missing or damaged."""
    try:
        return read_vectors(file) if file.is_file() else {}
    except (DataError, OSError) as error:
        _warn(f'kept text embeddings are not used: {error}')
        return {}


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)
