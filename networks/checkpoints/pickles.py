"""Reading foreign pickles without running anything that they ask for.

A pickle is a program: it names functions and classes, and calls them. Here each name is looked up in a closed list, and
what stands behind it is inert, so the worst that a file can do is to be refused.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.pickle_bounds import require_bounded

NUMBERS = re.compile(r"[<>|=]?[biuf][1248]")  # numpy's short names of types of plain numbers


# What checkpoints of networks name. The beginning of such a name is a damaged one, not a foreign one.
CHECKPOINT_NAMES = (
    "collections.OrderedDict", "argparse.Namespace", "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Byte", "Bool")),
)  # fmt: skip


class UnsafePickleError(GanvasError):
    """A pickle names something that its format has no use for."""


class Attributes(dict[str, Any]):
    """Stands for ``dnnlib.util.EasyDict``: a dictionary, whatever else the file would make of it."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.update(state)


@dataclass(frozen=True, slots=True)
class Persistent:
    """An object of ``torch_utils.persistence``: its class's name and its attributes, without its code."""

    class_name: str
    state: Mapping[str, Any]

    @property
    def modules(self) -> dict[str, Persistent]:
        """Its submodules by name."""
        return {name: m for name, m in self._entries("_modules").items() if isinstance(m, Persistent)}

    def tensors(self, prefix: str = "", depth: int = 0) -> dict[str, Tensor]:
        """Parameters and buffers of the whole tree, as a state dict.

        Raises:
            ValueError: if the tree has no end.
        """
        if depth > 16:
            raise ValueError("modules are nested without an end")
        own = {**self._entries("_parameters"), **self._entries("_buffers")}
        found = {prefix + name: value for name, value in own.items() if isinstance(value, Tensor)}
        for name, module in self.modules.items():
            found |= module.tensors(f"{prefix}{name}.", depth + 1)
        return found

    def _entries(self, name: str) -> Mapping[str, Any]:
        entries = self.state.get(name, {})
        if not isinstance(entries, Mapping):
            raise ValueError(f"{self.class_name}.{name} is no dictionary")
        return entries


class _Call:
    """A function that a pickle may call. It has no attributes, so a pickle cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function has no state")


def _persistent(meta: Mapping[str, Any]) -> Persistent:
    return Persistent(str(meta["class_name"]), dict(meta["state"]))  # meta["module_src"], the code, is dropped


def _storage(data: bytes) -> Tensor:
    # PyTorch's own function for this is torch.load with all doors open: a pickle inside the pickle.
    try:
        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # as in read_torch; PyTorch's own sentences are pages
        name = foreign_name(error)
        raise _NotAllowedError(name) if name else ValueError("numbers are stored in an unknown way") from error
    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError("numbers are stored in an unknown way")
    return torch.empty(0, dtype=storage.dtype).set_(storage)  # type: ignore[call-overload]


def _tensor(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
    view = storage.as_strided(tuple(size), tuple(stride), offset)  # which refuses what lies outside
    if view.numel() > storage.numel():  # a stride of 0 would make much out of nothing
        raise ValueError("a tensor is larger than its storage")
    return view.clone(memory_format=torch.contiguous_format)


class _Ignored:
    """Stands for what no network is made of, such as arrays among the attributes."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Nothing is kept."""


class Settings:
    """Stands for OmegaConf's containers and values: settings that Lightning keeps in a checkpoint."""

    def __init__(self, *_: Any) -> None:
        self.state: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, Mapping) else {}

    def plain(self, depth: int = 0) -> Any:
        """The dictionary, the list or the value that it is; None beyond 16 levels, or if it is another thing."""
        if depth > 16:
            return None
        content = self.state.get("_content", self.state.get("_val"))
        if isinstance(content, Mapping):
            return {str(name): plain(value, depth + 1) for name, value in content.items()}
        return [plain(value, depth + 1) for value in content] if isinstance(content, list) else content


def plain(value: Any, depth: int = 0) -> Any:
    """A value of a checkpoint's settings, whether OmegaConf wrapped it or not."""
    return value.plain(depth) if isinstance(value, Settings) else value


class _NumberType:
    """Stands for ``numpy.dtype``, of which only plain numbers are taken."""

    def __init__(self, name: str, *_: Any) -> None:
        if not NUMBERS.fullmatch(name):
            raise ValueError(f"a number of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        """The byte order and the rest: numbers in files of our time are little-endian, as the name says."""


def _number(kind: _NumberType, data: bytes | str) -> float:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, kind.dtype)[0].item()


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


# What Lightning's checkpoints name for their settings: whatever may be built of these is inert.
SETTINGS = (
    *((Settings, f"omegaconf.{name}") for name in (
        "dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata", "base.Metadata", "nodes.AnyNode",
        "nodes.StringNode", "nodes.IntegerNode", "nodes.FloatNode", "nodes.BooleanNode",
    )),
    (_nothing, "collections.defaultdict"), (_nothing, "typing.Any"),
    *((_nothing, f"{place}.{name}") for place in ("builtins", "__builtin__")
      for name in ("dict", "list", "tuple", "str", "int", "long", "float", "bool", "object")),
)  # fmt: skip


# What the StyleGAN2 pickles of stylegan2-ada-pytorch and stylegan3 name.
OFFICIAL: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Call(OrderedDict),
    ("builtins", "set"): _Call(set),
    ("__builtin__", "set"): _Call(set),
    ("_codecs", "encode"): _Call(lambda text, encoding: text.encode(encoding)),
    ("dnnlib.util", "EasyDict"): Attributes,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_persistent),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("numpy", "dtype"): _NumberType,
    ("numpy.core.multiarray", "scalar"): _Call(_number),
    ("numpy._core.multiarray", "scalar"): _Call(_number),
    ("numpy.core.multiarray", "_reconstruct"): _Call(_Ignored),
    ("numpy._core.multiarray", "_reconstruct"): _Call(_Ignored),
    ("numpy", "ndarray"): _Ignored,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise _NotAllowedError(f"{module}.{name}")
        return self.allowed[module, name]


class _NotAllowedError(Exception):
    pass


class _WholeLines(io.BufferedReader):
    """A file whose last line ends. ``torch.load`` takes a name that the end of the file cuts for a foreign one."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError("the file ends within a name")
        return line


def read_pickle(path: Path, allowed: Mapping[tuple[str, str], Any]) -> Any:
    """The object in a pickle, made of nothing but what ``allowed`` holds.

    Args:
        path: the file.
        allowed: (module, name) -> an inert stand-in. It must not have attributes that a pickle could set.

    Raises:
        UnsafePickleError: naming what the file asks for beside that.
        GanvasError: if the file is damaged, states sizes beyond its own, or is no pickle.
    """
    try:
        require_bounded(path)
        with path.open("rb") as file:
            return _Unpickler(file, allowed).load()
    except OSError as error:
        raise GanvasError(f"{path} cannot be read ({error.strerror}): check the path and its rights.") from error
    except Exception as error:  # a pickle is a program, and can fail in any way
        name = foreign_name(error)
        if name:
            raise UnsafePickleError(
                f"{path} asks for {name}, for which a generator has no use: nothing was run; get the file from its "
                "authors again."
            ) from error
        raise GanvasError(f"{path} cannot be read as a pickle of networks ({error}): copy it again.") from error


def read_torch(path: Path, use: str = "a generator") -> Mapping[str, Any]:
    """A dictionary that ``torch.save`` wrote, of tensors, plain values and the arguments of a program.

    Args:
        path: the file.
        use: what is looked for in it, as a sentence names it.

    Raises:
        UnsafePickleError: naming what else the file asks for.
        GanvasError: if the file is damaged or holds something else.
    """
    found = read_torch_value(path, use)
    if not isinstance(found, Mapping):
        raise GanvasError(f"{path} holds a {type(found).__name__}, not a checkpoint of networks.")
    return found


def read_torch_value(path: Path, use: str) -> Any:
    """Whatever ``torch.save`` wrote that consists of tensors, plain values and the arguments of a program.

    Args:
        path: the file.
        use: what is looked for in it, as a sentence names it.

    Raises:
        UnsafePickleError: naming what else the file asks for.
        GanvasError: if the file is damaged.
    """
    try:
        # Training checkpoints hold their arguments.
        with _WholeLines(io.FileIO(path)) as file, torch.serialization.safe_globals([argparse.Namespace, *SETTINGS]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way: struct.error, IndexError, AssertionError, ...
        name = foreign_name(error)
        if name:
            raise UnsafePickleError(f"{path} asks for {name}, for which {use} has no use: nothing was run; get the "
                                    "file from its authors again.") from error  # fmt: skip
        raise GanvasError(f"{path} cannot be read as a PyTorch checkpoint: copy it again.") from error


def foreign_name(error: BaseException) -> str | None:
    """What a refused pickle asked for, ours or one that ``torch.load`` refused; None if it failed otherwise."""
    if isinstance(error, _NotAllowedError):
        return str(error)
    # A name goes up to the next space; a damaged one may hold anything.
    found = re.search(r"GLOBAL ((\w+\.)*\w+) (was not an allowed global|whose module)", str(error))
    if found is None or any(known.startswith(found.group(1)) for known in CHECKPOINT_NAMES):
        return None
    return found.group(1)
