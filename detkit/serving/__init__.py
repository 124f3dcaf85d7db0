"""A model as an HTTP server: requests are answered in batches, within limits, and one page shows what it finds."""

from detkit.utils.errors import MissingPackageError

try:
    import fastapi  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingPackageError(
        f"a server needs packages that are not installed ({error}); install them by pip install 'detkit[serve]'"
    ) from error

from detkit.serving.app import create_app
from detkit.serving.model import ServedModel
from detkit.serving.server import serve
from detkit.serving.settings import ServeSettings

__all__ = ['ServeSettings', 'ServedModel', 'create_app', 'serve']
