"""``OpenVocabularyDetector``: a detector whose classes are texts, which may change after training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.config.signatures import arguments_of
from detkit.protocols import TextEncoder
from detkit.registry import DETECTORS, HEADS, NECKS, TEXT_ENCODERS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

from ..base_module import with_children
from .base_detector import BaseDetector, Preds

_DEFAULT_ENCODER = dict(type='NgramTextEncoder')


@DETECTORS.register_module()
class OpenVocabularyDetector(BaseDetector):
    """Detector whose necks and head may take the embeddings of the classes' names (``needs_texts``).

    The embeddings are a buffer, ``texts (C, D)``, which checkpoints hold, so that a trained model needs no text encoder
    for the classes that it was trained with. A model that is built holds random ones; ``init_weights`` asks the text
    encoder for those of ``classes``.

    Args:
        backbone, head, neck, data_preprocessor, batch_norm, init_cfg: see ``BaseDetector``.
        text_encoder: config of a ``TextEncoder``; ``dict(type='NgramTextEncoder')`` when left out.
        classes: the names that training embeds; wired from the data.
    """

    takes = {'text_encoder': TextEncoder}
    holds_texts = True
    own_tensors = ('texts',)
    texts: Tensor

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | list[dict] | None = None,
        text_encoder: dict | None = None,
        classes: Sequence[str] | None = None,
        data_preprocessor: dict | None = None,
        batch_norm: dict[str, float] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        encoder: TextEncoder = TEXT_ENCODERS.build(text_encoder or _DEFAULT_ENCODER)
        parts = [neck] if isinstance(neck, Mapping) else neck
        neck = None if parts is None else [_with_dims(part, NECKS, encoder.dims) for part in parts]
        super().__init__(backbone, _with_dims(head, HEADS, encoder.dims), neck, data_preprocessor, batch_norm, init_cfg)
        self.text_encoder = encoder
        self.classes = tuple(classes or ())
        num_classes = getattr(self.head, 'num_classes', len(self.classes))
        texts = nn.init.normal_(torch.empty(num_classes, encoder.dims))
        self.register_buffer('texts', F.normalize(texts, dim=1))

    def init_weights(self) -> None:
        """Initialise the weights, and embed the names of the classes."""
        super().init_weights()
        if self.classes:
            self.embed_classes(self.classes)

    def embed_classes(self, names: Sequence[str]) -> None:
        """Replace the texts by the text encoder's for as many names as the model has classes.

        Raises:
            ConfigError: the numbers of names and of classes differ, or the embeddings do not fit.
        """
        if len(names) != len(self.texts):
            raise ConfigError(
                f'{len(names)} class names are given, but the head has {len(self.texts)} classes'
                f'; give as many names, or write model.head.num_classes={len(names)}'
            )
        self.classes = tuple(names)
        self.texts.copy_(self._embedded(names))

    def apply_neck(self, neck: nn.Module, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what a neck makes of feature maps."""
        return neck(feats, self.texts) if needs_texts(neck) else super().apply_neck(neck, feats)

    def apply_head(self, feats: tuple[Tensor, ...], padding_mask: Tensor | None, gt: GtBatch | None) -> Preds:
        """Return the raw predictions of the head."""
        if not needs_texts(self.head):
            return super().apply_head(feats, padding_mask, gt)
        return self.head(feats, padding_mask, texts=self.texts)

    def with_classes(self, names: Sequence[str], embeddings: TextEncoder | None = None) -> OpenVocabularyDetector:
        """Return a detector of other classes for prediction, which shares all weights with this one.

        Args:
            names: the classes. Those that the model has already keep their embeddings.
            embeddings: the text encoder of the others; the model's own by default.

        Raises:
            ConfigError: there is no name, one is empty, no text or there twice, the embeddings do not fit, or the texts
                have been folded.
        """
        names = list(names)
        _check_names(names)
        if not self.takes_texts:
            raise ConfigError(
                'the texts are folded into this detector, whose classes are fixed'
                '; for other classes load the checkpoint that it was made from'
            )
        known = dict(zip(self.info.classes, self.texts, strict=True)) if self.info.classes else {}
        asked = [name for name in names if name not in known or embeddings is not None]
        found = dict(zip(asked, self._embedded(asked, embeddings), strict=True)) if asked else {}
        head = copy.copy(self.head)
        head.num_classes = len(names)
        shared = with_children(self, head=head)
        shared._buffers = {**self._buffers, 'texts': torch.stack([{**known, **found}[name] for name in names])}
        shared.classes = tuple(names)
        shared.info = replace(self.info, classes=tuple(names))
        return shared

    def reparameterized(self) -> OpenVocabularyDetector:
        """Return the detector with its texts folded into the weights of necks and head, for prediction.

        It gives the same results, faster, and shares all other weights. Parts that depend on texts in another way,
        such as a neck with image pooling, stay as they are.
        """
        children = {'head': _folded(self.head, self.texts)}
        if self.neck is not None:
            necks = {name: _folded(neck, self.texts) for name, neck in self.neck.named_children()}
            children['neck'] = with_children(self.neck, **necks)
        return with_children(self, **children)

    @property
    def takes_texts(self) -> bool:
        """Whether a part takes the texts, so that the classes may be changed."""
        return any(map(needs_texts, (*(self.neck or ()), self.head)))

    def _embedded(self, names: Sequence[str], encoder: TextEncoder | None = None) -> Tensor:
        """Return the embeddings ``(len(names), D)`` of a text encoder, by default the model's, as the buffer has them.

        Raises:
            ConfigError: the encoder returns something else.
        """
        encoder = self.text_encoder if encoder is None else encoder
        texts, expected = encoder(names), (len(names), self.texts.shape[1])
        title = type(encoder).__name__
        if not isinstance(texts, Tensor) or tuple(texts.shape) != expected:
            found = f'a tensor {tuple(texts.shape)}' if isinstance(texts, Tensor) else f'a {type(texts).__name__}'
            raise ConfigError(f'text encoder {title} returns {found}, but must return a tensor {expected}')
        if not texts.isfinite().all():
            raise ConfigError(f'text encoder {title} returns numbers that are not finite')
        return texts.detach().to(self.texts)


def _check_names(names: Sequence[str]) -> None:
    """Raise ``ConfigError`` for names that say nothing, that are no text, or that are there twice."""
    if not names:
        raise ConfigError('no class is named; give classes at least one name')
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise ConfigError(f'classes[{index}] is {name!r}, but must be a name')
        if not name.strip():
            raise ConfigError(f'classes[{index}] is {name!r}, which names nothing; leave it out, or write a name')
        if any('\ud800' <= letter <= '\udfff' for letter in name):  # halves of characters, as wrong bytes become
            raise ConfigError(f'classes[{index}] is {name!r}, which is no valid text; write it in UTF-8')
        if name in names[:index]:
            raise ConfigError(f'the class {name!r} is named twice in classes; leave one out')


def needs_texts(part: nn.Module) -> bool:
    """Return whether a neck or a head takes texts."""
    return bool(getattr(part, 'needs_texts', False))


def _folded(part: nn.Module, texts: Tensor) -> nn.Module:
    with torch.no_grad():
        return part.folded(texts) if needs_texts(part) and hasattr(part, 'folded') else part


def _with_dims(cfg, registry, dims: int):
    """Return a part's config with ``text_dims`` where its class takes it.

    Raises:
        ConfigError: the config gives another number.
    """
    if not isinstance(cfg, Mapping):
        return cfg
    kind = cfg.get('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    if cls is None or 'text_dims' not in arguments_of(cls).names:
        return cfg
    given = cfg.get('text_dims', dims)
    if given != dims:
        raise ConfigError(f'{kind}: text_dims is {given}, but the text encoder makes vectors of {dims}; leave it out')
    return {**cfg, 'text_dims': dims}
