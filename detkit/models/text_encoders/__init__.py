"""Text encoders: names of classes to vectors, for detectors of an open vocabulary."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.text_encoders.clip_text_encoder import CLIPTextEncoder
    from detkit.models.text_encoders.embedding_file import EmbeddingFile, read_embeddings, save_embeddings
    from detkit.models.text_encoders.ngram_text_encoder import NgramTextEncoder

__getattr__ = lazy_names(
    __name__,
    {
        'CLIPTextEncoder': 'clip_text_encoder',
        'EmbeddingFile': 'embedding_file',
        'NgramTextEncoder': 'ngram_text_encoder',
        'read_embeddings': 'embedding_file',
        'save_embeddings': 'embedding_file',
    },
)

__all__ = ['CLIPTextEncoder', 'EmbeddingFile', 'NgramTextEncoder', 'read_embeddings', 'save_embeddings']
