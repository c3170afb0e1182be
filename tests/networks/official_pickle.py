"""Writes pickles as the official releases do, from our networks and without their code.

Theirs hold each module as a call of ``torch_utils.persistence._reconstruct_persistent_obj`` with its attributes; what
reads them here looks at these attributes alone, so networks of ours, described so, are files of theirs.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from networks.stylegan2 import Discriminator, Generator
from networks.stylegan2.discriminator import DiscriminatorBlock, DiscriminatorEpilogue
from networks.stylegan2.layers import Conv2d, FullyConnected
from networks.stylegan2.mapping import MappingNetwork
from networks.stylegan2.synthesis import SynthesisBlock, SynthesisLayer, SynthesisNetwork, ToRGB

Attributes = dict[str, Any]


class Official:
    """One module of theirs: pickled as a call with its attributes, source code and all."""

    def __init__(self, class_name: str, state: Attributes) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit('run')", "class_name": self.class_name,
                "state": self.state}  # fmt: skip
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def _named(module: str, name: str) -> Callable[..., Any]:
    def call(*_: Any) -> None:
        raise AssertionError("only its name is pickled")

    call.__module__, call.__qualname__ = module, name
    return call


@contextmanager
def their_modules() -> Iterator[type[dict]]:
    """Modules of the names that their files use; gives the class that stands for ``EasyDict``."""
    easy = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    made = {"torch_utils": {}, "torch_utils.persistence": {
        "_reconstruct_persistent_obj": _named("torch_utils.persistence", "_reconstruct_persistent_obj")
    }, "dnnlib": {}, "dnnlib.util": {"EasyDict": easy}}  # fmt: skip
    for name, entries in made.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(entries)
    try:
        yield easy
    finally:
        for name in made:
            del sys.modules[name]


def describe(module: nn.Module, lr_mult: float = 0.01) -> Official:
    """A module of ours as one of theirs."""
    class_name, attributes = _described(module, lr_mult)
    children = OrderedDict((name, describe(child, lr_mult)) for name, child in module.named_children())
    if isinstance(module, DiscriminatorEpilogue):
        std = {"group_size": module.mbstd_group_size, "num_channels": 1, **_no_weights()}
        children["mbstd"] = Official("MinibatchStdLayer", std) if module.mbstd_group_size != 0 else None
    return Official(class_name, {
        "training": False, **attributes, "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers), "_modules": children, "_non_persistent_buffers_set": set(),
    })  # fmt: skip


def _no_weights() -> Attributes:
    return {"_parameters": OrderedDict(), "_buffers": OrderedDict(), "_modules": OrderedDict()}


def _described(module: nn.Module, lr_mult: float) -> tuple[str, Attributes]:
    """The class's name there, and those of its attributes that no weight shows."""
    match module:
        case Generator() | Discriminator():
            names = ("img_resolution", "img_channels", "z_dim", "w_dim", "c_dim")
            return type(module).__name__, {name: getattr(module, name) for name in names if hasattr(module, name)}
        case SynthesisNetwork() | MappingNetwork():
            return type(module).__name__, {"w_avg_beta": getattr(module, "w_avg_beta", None)}
        case SynthesisBlock() | DiscriminatorBlock():
            return type(module).__name__, {"architecture": module.architecture, "use_fp16": module.dtype.itemsize == 2}
        case SynthesisLayer():
            return "SynthesisLayer", {"activation": "lrelu", "conv_clamp": module.conv_clamp, "use_noise": True,
                                      "resolution": module.resolution, "act_gain": np.sqrt(2)}  # fmt: skip
        case ToRGB():
            return "ToRGBLayer", {"conv_clamp": module.conv_clamp, "weight_gain": np.float64(module.weight_gain)}
        case Conv2d():
            return "Conv2dLayer", {"activation": module.act, "conv_clamp": module.conv_clamp}
        case FullyConnected():
            return "FullyConnectedLayer", {"activation": module.act, "bias_gain": module.bias_gain,
                                           "weight_gain": np.float64(module.weight_gain)}  # fmt: skip
        case DiscriminatorEpilogue():
            return "DiscriminatorEpilogue", {"cmap_dim": module.cmap_dim}
    raise AssertionError(type(module))


def write(path: Path, networks: Mapping[str, Any], protocol: int = 4) -> Path:
    """A training snapshot; ``networks`` may hold modules of ours and anything that can be pickled."""
    with their_modules() as easy:
        content = {name: describe(net) if isinstance(net, nn.Module) else net for name, net in networks.items()}
        file = io.BytesIO()
        pickle.dump({**content, "augment_pipe": None, "training_set_kwargs": easy(path="x.zip")}, file, protocol)
    path.write_bytes(file.getvalue())
    return path
