"""StyleGAN2 networks of the official PyTorch releases: the ``.pkl`` files of stylegan2-ada-pytorch and of stylegan3.

The file holds whole objects with their source code. None of it is run: constructor arguments are read off the objects'
attributes and the weights' shapes, and the weights load into our classes under their own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.architecture import channel_rule
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Found, Network, NetworkMissingError
from networks.checkpoints.pickles import OFFICIAL, Persistent, UnsafePickleError, read_pickle

FORMAT = "stylegan2-ada-pytorch pickle"
NETWORKS = ("G_ema", "G", "D")


def read_official(path: Path, network: Network) -> Found:
    """One network of an official pickle.

    Args:
        path: the ``.pkl`` file.
        network: ``G_ema``, ``G`` or ``D``.

    Raises:
        GanvasError: if the file is unusable, holds no such network, one that is not StyleGAN2, or one with parts that
            ours does not have.
    """
    found = _networks(path)
    if network not in found:
        raise NetworkMissingError(f"{path} holds no network {network}, but {', '.join(found) or 'none'}: "
                                  "choose one of these.")  # fmt: skip
    net = found[network]
    try:
        _require_stylegan2(net)
        tensors = net.tensors()
        arguments = _generator(net, tensors) if network != "D" else _discriminator(net, tensors)
    except _NotOursError as error:
        raise GanvasError(f"{path} cannot be used: {error}.") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise GanvasError(f"the network {network} in {path} is not as the official releases write it ({error}); "
                          "export it again.") from error  # fmt: skip
    return Found("stylegan2" if network != "D" else "stylegan2_discriminator", arguments, tensors, FORMAT)


class _NotOursError(Exception):
    """A network that is whole, but of another kind; the end of a sentence."""


def _networks(path: Path) -> dict[str, Persistent]:
    """Its networks by name; a pickle that is nothing but a generator has it as ``G_ema``."""
    try:
        root = read_pickle(path, OFFICIAL)
    except UnsafePickleError as error:
        if "dnnlib.tflib" in str(error):
            raise GanvasError(f"{path} is a TensorFlow network: turn it into a PyTorch pickle with legacy.py of "
                              "stylegan2-ada-pytorch first.") from error  # fmt: skip
        raise
    if isinstance(root, Persistent):
        return {"G_ema": root}
    if not isinstance(root, Mapping):
        raise GanvasError(f"{path} is a pickle of something else than networks; give a training snapshot (.pkl).")
    return {name: root[name] for name in NETWORKS if isinstance(root.get(name), Persistent)}


def _require_stylegan2(net: Persistent) -> None:
    network = net.modules.get("synthesis", net)
    if "b4" in network.modules:
        return
    if "input" in network.modules:
        raise _NotOursError("it holds a StyleGAN3 generator, and Ganvas reads StyleGAN2; take one of cfg=stylegan2")
    raise _NotOursError(f"its {net.class_name} is no network of StyleGAN2")


def _generator(net: Persistent, tensors: dict[str, Tensor]) -> dict[str, Any]:
    synthesis, mapping = net.modules["synthesis"], net.modules["mapping"]
    size = int(net.state["img_resolution"])
    blocks = {r: synthesis.modules[f"b{r}"] for r in _resolutions(size)}
    layers = {f"synthesis.b{r}.{name}": layer for r, block in blocks.items()
              for name, layer in block.modules.items() if name.startswith("conv")}  # fmt: skip
    _require_same_parts([*layers.values(), *_dense(mapping)], tensors)
    for path, layer in layers.items():
        if not layer.state.get("use_noise", True):  # ours always has noise: of strength 0 it is none
            tensors[f"{path}.noise_strength"] = torch.zeros([])
            tensors[f"{path}.noise_const"] = torch.zeros([layer.state["resolution"]] * 2)
    channels = {r: len(tensors[f"synthesis.b{r}.conv1.weight"]) for r in blocks}
    return {
        **{name: int(net.state[name]) for name in ("img_resolution", "img_channels", "z_dim", "w_dim", "c_dim")},
        **_dense_arguments(mapping),
        "w_avg_beta": float(mapping.state.get("w_avg_beta", 0.995)),
        **channel_rule(channels), **_block_arguments(blocks),
    }  # fmt: skip


def _discriminator(net: Persistent, tensors: dict[str, Tensor]) -> dict[str, Any]:
    size = int(net.state["img_resolution"])
    blocks = {r: net.modules[f"b{r}"] for r in _resolutions(size) if r > 4}
    end = net.modules["b4"]
    layers = [layer for block in (*blocks.values(), end) for layer in block.modules.values()
              if "activation" in layer.state and layer.state["activation"] != "linear"]  # fmt: skip
    mapping = net.modules.get("mapping")
    _require_same_parts([*layers, *(_dense(mapping) if mapping else ())], tensors)
    channels = {4: len(tensors["b4.conv.weight"])} | {r: tensors[f"b{r}.conv0.weight"].shape[1] for r in blocks}
    std = end.modules.get("mbstd")
    if std is not None and std.state["num_channels"] != 1:
        raise _NotOursError(f"its mini-batch standard deviation has {std.state['num_channels']} channels, and ours 1")
    if mapping is not None and int(end.state["cmap_dim"]) != channels[4]:
        raise _NotOursError(f"its label map is {end.state['cmap_dim']} wide, and ours is as wide as its last layer")
    group = None if std is None else std.state["group_size"]
    arguments = _dense_arguments(mapping) if mapping else {}
    if arguments.pop("mapping_lr_mult", 0.01) != 0.01:
        raise _NotOursError("its label embedding learns at another rate than ours, and would be scaled otherwise")
    return {
        "img_resolution": size, "img_channels": int(net.state["img_channels"]), "c_dim": int(net.state["c_dim"]),
        "mbstd_group_size": 0 if std is None else group if group is None else int(group),
        **arguments, **channel_rule(channels), **_block_arguments(blocks),
    }  # fmt: skip


def _resolutions(size: int) -> list[int]:
    return [2**i for i in range(2, size.bit_length())]


def _dense(mapping: Persistent) -> list[Persistent]:
    return [layer for name, layer in mapping.modules.items() if name.startswith("fc")]


def _dense_arguments(mapping: Persistent) -> dict[str, Any]:
    layers = _dense(mapping)
    gains = {float(layer.state["bias_gain"]) for layer in layers} or {0.01}
    if len(gains) > 1:
        raise _NotOursError("the layers of its mapping network learn at different rates")
    return {"mapping_layers": len(layers), "mapping_lr_mult": gains.pop()}


def _block_arguments(blocks: Mapping[int, Persistent]) -> dict[str, Any]:
    """What the blocks of either network agree on."""
    clamps = {block.modules["conv1"].state.get("conv_clamp") for block in blocks.values()}
    kinds = {block.state["architecture"] for block in blocks.values()}
    if len(clamps) > 1 or len(kinds) > 1:
        raise _NotOursError("its blocks differ in architecture or clamping")
    clamp = clamps.pop()
    return {
        "architecture": str(kinds.pop()), "conv_clamp": None if clamp is None else float(clamp),
        "num_fp16_res": sum(bool(block.state["use_fp16"]) for block in blocks.values()),
    }  # fmt: skip


def _require_same_parts(layers: list[Persistent], tensors: Mapping[str, Tensor]) -> None:
    """Refuse what our classes do not offer: other activations, other resampling filters."""
    for layer in layers:
        if layer.state["activation"] != "lrelu":
            raise _NotOursError(f"its layers use {layer.state['activation']}, and ours leaky ReLU only")
    for name, value in tensors.items():
        if name.endswith("resample_filter") and tuple(value.shape) != (4, 4):
            raise _NotOursError(f"its resampling filter has {value.shape[-1]} taps, and ours has 4")
