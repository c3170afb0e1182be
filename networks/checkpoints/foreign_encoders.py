"""Encoders in the files of pSp, e4e and EditGAN: which one a file holds, and its network as ours.

The weights keep their names. What a file does not state is read off the shapes, and off the generator that it is for.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.architecture import count_names, residual_stages
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Found, is_torch
from networks.checkpoints.pickles import read_torch
from networks.latent_statistics import w_statistics
from networks.protocol import Generator

PSP_ENTRY, EDITGAN_ENTRY = "state_dict", "model_state_dict"
PREFIX = "encoder."                         # of its names in a checkpoint of pSp or e4e
# What the checkpoint's arguments call the encoder -> (the format, whether rows are offsets from the first).
PSP_TYPES: Mapping[str, tuple[str, bool]] = {
    "GradualStyleEncoder": ("pSp checkpoint", False), "Encoder4Editing": ("e4e checkpoint", True)
}  # fmt: skip
Tensors = dict[str, Tensor]


def read_foreign_encoder(path: Path, generator: Generator) -> Found:
    """The encoder in a ``.pt`` of pSp or e4e, or in a ``.pth`` of EditGAN.

    Args:
        path: the file.
        generator: whose codes it finds: the images' size, and the mean of W where the file counts on it.

    Raises:
        GanvasError: if the file is missing, unusable, or holds no such encoder.
    """
    if not path.is_file():
        raise GanvasError(f"there is no file {path}; check the path.")
    checkpoint = read_torch(path, "an encoder") if is_torch(path) else {}
    psp = _tensors(checkpoint.get(PSP_ENTRY), PREFIX)
    editgan = _tensors(checkpoint.get(EDITGAN_ENTRY), "")
    if not psp and "FPN_module.conv1.weight" not in editgan:
        raise GanvasError(f"{path} holds no encoder that Ganvas converts; give a .pt of pSp or e4e, or EditGAN's .pth.")
    try:
        return _psp(path, checkpoint, psp, generator) if psp else _editgan(editgan, generator)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise GanvasError(f"the encoder in {path} is not as {'pSp and e4e' if psp else 'EditGAN'} writes it ({error}); "
                          "export it again.") from error  # fmt: skip


def _tensors(entry: Any, prefix: str) -> Tensors:
    """The tensors of a state dict whose names begin so, without that beginning."""
    if not isinstance(entry, Mapping):
        return {}
    return {
        name.removeprefix(prefix): value for name, value in entry.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(value, Tensor)
    }  # fmt: skip


def _psp(path: Path, checkpoint: Mapping[str, Any], tensors: Tensors, generator: Generator) -> Found:
    opts = checkpoint.get("opts")
    opts = vars(opts) if isinstance(opts, argparse.Namespace) else opts
    kind = opts.get("encoder_type") if isinstance(opts, Mapping) else None
    if not isinstance(kind, str) or kind not in PSP_TYPES:
        raise GanvasError(f"{path} holds an encoder of type {kind}, and Ganvas converts {' and '.join(PSP_TYPES)}: "
                          "give a checkpoint with one of these in its opts.")  # fmt: skip
    source, offsets = PSP_TYPES[kind]
    channels, units = residual_stages({name: t.shape for name, t in tensors.items()})
    rows, w_dim = count_names(tensors, r"styles\.\d+\.linear\.weight"), len(tensors["styles.0.linear.weight"])
    config = {
        "img_resolution": generator.img_resolution, "num_ws": rows, "w_dim": w_dim,
        "img_channels": tensors["input_layer.0.weight"].shape[1], "offsets": offsets,
        "channels": channels, "units": units,
    }  # fmt: skip
    average = checkpoint.get("latent_avg")
    if not opts.get("start_from_latent_avg", average is not None):
        average = torch.zeros(w_dim)
    elif average is None:  # their programs then take the mean of the decoder's codes
        average = w_statistics(generator, samples=2).mean
    average = average.detach().float().cpu().reshape(-1, w_dim)
    return Found("irse", config, {**tensors, "latent_avg": average.expand(rows, -1).clone()}, source)


def _editgan(tensors: Tensors, generator: Generator) -> Found:
    rows = count_names(tensors, r"(course|medium|fine)_styles\.\d+\.linear\.weight")
    config = {
        "img_resolution": generator.img_resolution, "num_ws": rows,
        "w_dim": len(tensors["course_styles.0.linear.weight"]),
        "img_channels": tensors["FPN_module.conv1.weight"].shape[1], "base": len(tensors["FPN_module.conv1.weight"]),
        "units": [count_names(tensors, rf"FPN_module\.layer{stage}\.\d+\.conv1\.weight") for stage in (1, 2, 3, 4)],
        "width": len(tensors["FPN_module.toplayer.weight"]),
    }  # fmt: skip
    return Found("fpn", config, tensors, "EditGAN encoder")
