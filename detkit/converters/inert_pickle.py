"""``TorchArchive``: a reader of ``torch.save`` files that runs nothing of them.

It exists because the YOLO projects pickle whole models. ``torch.load`` either runs such a file, which may call any
function that it names, or (``weights_only=True``) refuses it because of its classes. A file is a zip archive: a pickle
that describes objects, and the bytes of each tensor's storage. Here every name in the pickle except plain containers
and tensors becomes an inert stand-in, which keeps what it is given and does nothing. So the file can do no harm, and
the project that wrote it need not be installed.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Iterable
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from detkit.utils.errors import CheckpointError, first_line
from detkit.utils.files import ZIP_ERRORS
from detkit.utils.pickles import check_pickle
from detkit.utils.torch_files import is_zip, open_stored

_DTYPES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}

# Parameters that a model has in several places are there once in a file, which then holds less than what is read of it.
_MOST_SHARED = 8

# The exceptions that reading a damaged or forged pickle may raise.
_UNPICKLING = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    MemoryError,
)


class StandIn:
    """A stand-in for an object whose class is not loaded, or for the result of a function that is not called.

    Attributes:
        path: the class's or function's full name.
        args: the arguments that it was called with.
        state: the state that it was given, an object's attributes as a rule.
        items: the items that were put into it, for containers.
    """

    __slots__ = ('args', 'items', 'state')
    path: ClassVar[str] = ''

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        self = super().__new__(cls)
        self.args, self.state, self.items = (args, kwargs), None, []
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``__new__`` has kept the arguments."""

    @property
    def kind(self) -> str:
        """Return the class's own name."""
        return self.path.rpartition('.')[2]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute that the object would have."""
        return self.state.get(name, default) if isinstance(self.state, dict) else default

    # The methods that an unpickler calls.

    def __call__(self, *args: Any, **kwargs: Any) -> StandIn:
        return type(self)(self, *args, **kwargs)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Iterable[Any]) -> None:
        self.items.extend(items)

    add = append


class StorageRef(NamedTuple):
    """The bytes of one or more tensors, by their name in the archive."""

    key: str
    dtype: torch.dtype | None
    numel: int


class TensorRef(NamedTuple):
    """A tensor whose bytes have not been read yet."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _RebuildTensor:
    # This class and the next have no attributes that a pickle could set.
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
        if not isinstance(storage, StorageRef):
            raise pickle.UnpicklingError('a tensor without a storage')
        size, stride = tuple(size), tuple(stride)
        if len(size) != len(stride) or not all(type(value) is int and value >= 0 for value in (offset, *size, *stride)):
            raise pickle.UnpicklingError('a tensor whose sizes are no whole numbers')
        return TensorRef(storage, offset, size, stride)


class _RebuildParameter:
    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> Any:
        return data


class _Dict(dict):
    # An ``OrderedDict`` may have attributes of any name, which a file could put in place of its methods.
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Do nothing: what a state dict says of the versions of its layers is not needed."""


class _Size(tuple):
    # It is not hashed, which would take long for sizes of sizes, see ``check_pickle``.
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


_ALLOWED = {
    'collections.OrderedDict': _Dict,
    'builtins.set': set,
    '__builtin__.set': set,
    'torch.Size': _Size,
    'torch._utils._rebuild_tensor_v2': _RebuildTensor(),
    'torch._utils._rebuild_parameter': _RebuildParameter(),
}


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._stand_ins: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> Any:
        path = f'{module}.{name}'
        if path in _ALLOWED:
            return _ALLOWED[path]
        if path not in self._stand_ins:
            self._stand_ins[path] = type('StandIn', (StandIn,), {'__slots__': (), 'path': path})
        return self._stand_ins[path]

    def persistent_load(self, pid: Any) -> StorageRef:
        kind, storage_type, key, _, numel = pid
        if kind != 'storage' or not isinstance(key, str) or not isinstance(numel, int):
            raise pickle.UnpicklingError('a storage that is described otherwise than torch.save does')
        path = getattr(storage_type, 'path', '')
        module, _, name = path.rpartition('.') if isinstance(path, str) else ('', '', '')
        return StorageRef(key, _DTYPES.get(name) if module in ('torch', 'torch.cuda') else None, numel)


class TorchArchive:
    """A file of ``torch.save``, open for reading; close it, or use it in a ``with``.

    Attributes:
        content: the saved object, in which tensors are ``TensorRef`` and objects of unknown classes ``StandIn``.

    Raises:
        CheckpointError: the file is missing, or no such file, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._num_read = 0
        if not self.path.is_file():
            raise CheckpointError(
                f'{path} '
                + ('is a folder' if self.path.is_dir() else 'does not exist')
                + '; give the path of a .pt file.'
            )
        try:
            self._zip = open_stored(self.path)
        except zipfile.BadZipFile as error:
            if is_zip(self.path):
                raise self._damaged(str(error)) from error
            raise CheckpointError(
                f'{path} is no file that PyTorch 1.6 or newer saved, or it is truncated '
                f'({self.path.stat().st_size} bytes); give a .pt file, copied whole.'
            ) from error
        except OSError as error:
            raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from error
        try:
            self._root = self._find_root()
            self.content = self._unpickle()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> TorchArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def _find_root(self) -> str:
        """Return the folder in the archive that holds everything."""
        names = self._zip.namelist()
        roots = [name.removesuffix('/data.pkl') for name in names if name.endswith('/data.pkl')]
        if len(roots) != 1:
            raise CheckpointError(f'{self.path} is a zip archive, but not one of torch.save (it has no data.pkl).')
        if f'{roots[0]}/constants.pkl' in names:
            raise CheckpointError(
                f'{self.path} is an exported TorchScript program, in which names and structure are '
                'lost; give the .pt file that it was exported from.'
            )
        byteorder = self._bytes(f'{roots[0]}/byteorder') if f'{roots[0]}/byteorder' in names else b'little'
        if byteorder.decode('ascii', 'replace').strip() != sys.byteorder:
            raise CheckpointError(
                f'{self.path} was saved on a machine of another byte order; save it anew on this kind of machine.'
            )
        return roots[0]

    def _unpickle(self) -> Any:
        data = self._bytes(f'{self._root}/data.pkl')
        try:
            check_pickle(data, len(data))
            return _InertUnpickler(io.BytesIO(data)).load()
        except _UNPICKLING as error:
            raise self._damaged(str(error) or type(error).__name__) from error

    def read(self, ref: TensorRef, tensor: object = 'a tensor') -> Tensor:
        """Read a tensor into memory of its own; an error names it as ``tensor``.

        Raises:
            CheckpointError: its bytes are missing or do not suffice, or tensors that share bytes take far more memory
                together than the file.
        """
        key, dtype, numel = ref.storage
        if dtype is None:
            raise CheckpointError(
                f'{self.path} holds {tensor} of a data type that no model has, such as complex or quantized numbers; '
                'save the weights as plain floats (model.float()).'
            )
        name = f'{self._root}/data/{key}'
        try:
            if self._zip.getinfo(name).file_size != numel * dtype.itemsize:
                raise self._damaged(f'{name} has another size than its tensor')
            if not numel:
                return torch.empty(ref.size, dtype=dtype)
            flat = torch.frombuffer(bytearray(self._bytes(name)), dtype=dtype)
            if prod(ref.size) > numel:
                raise self._damaged(f'{name} is smaller than its tensor')
            self._num_read += prod(ref.size) * dtype.itemsize
            if self._num_read > _MOST_SHARED * self.path.stat().st_size:
                raise self._damaged(f'its tensors take more than {_MOST_SHARED} times the memory of the file')
            return flat.as_strided(ref.size, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)
        except (KeyError, OverflowError, TypeError, ValueError, RuntimeError) as error:
            raise self._damaged(first_line(error)) from error

    def _bytes(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except ZIP_ERRORS as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f'{self.path} is damaged ({reason}); copy the file again.')
