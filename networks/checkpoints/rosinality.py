"""StyleGAN2 checkpoints of github.com/rosinality/stylegan2-pytorch (``.pt``), in both directions.

Every weight there is one of ours under another name and, in places, with more dimensions of size one. The resampling
kernels are not copied: they are the same four taps, stored times four where they enlarge.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cuda_ops.upfirdn2d import setup_filter
from networks.checkpoints.architecture import channel_arguments, count_names
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Found, Network, NetworkMissingError
from networks.checkpoints.generators import kind_of, known_networks, stored_tensors
from networks.stylegan2.resolutions import block_channels

FORMAT = "rosinality checkpoint"
ENTRIES = {"G_ema": "g_ema", "G": "g", "D": "d"}
DECODER = "decoder."                 # before its names in a checkpoint of pSp or e4e
W_AVG_SAMPLES = 4096                 # that repository's own number, where a checkpoint has no latent_avg
LR_MULT = 0.01                       # its mapping network's, which no checkpoint states
# What its networks have, and no argument for anything else.
GENERATOR_HAS = {"architecture": "skip", "c_dim": 0, "img_channels": 3, "mapping_lr_mult": LR_MULT}
DISCRIMINATOR_HAS = {"architecture": "resnet", "c_dim": 0, "img_channels": 3, "mbstd_group_size": 4}
CHANNEL_MAX, PLAIN_UP_TO, PLAIN_BASE = 512, 32, 16384  # its channels: 512 up to 32x32, above a multiple of 16384 / size


def generator_names(resolution: int) -> dict[str, str]:
    """Our names of a generator's weights -> theirs; the number of mapping layers is left out."""
    names = {"synthesis.b4.const": "input.input"}
    for level in range(2, resolution.bit_length()):
        ours, first = f"synthesis.b{2**level}", 2 * (level - 3)
        layers = {"conv1": "conv1"} if level == 2 else {"conv0": f"convs.{first}", "conv1": f"convs.{first + 1}"}
        for place, (layer, theirs) in enumerate(layers.items()):
            names |= {
                f"{ours}.{layer}.weight": f"{theirs}.conv.weight",
                f"{ours}.{layer}.affine.weight": f"{theirs}.conv.modulation.weight",
                f"{ours}.{layer}.affine.bias": f"{theirs}.conv.modulation.bias",
                f"{ours}.{layer}.bias": f"{theirs}.activate.bias",
                f"{ours}.{layer}.noise_strength": f"{theirs}.noise.weight",
                f"{ours}.{layer}.noise_const": f"noises.noise_{first + 1 + place if level > 2 else 0}",
            }
        rgb = "to_rgb1" if level == 2 else f"to_rgbs.{level - 3}"
        names |= {
            f"{ours}.torgb.weight": f"{rgb}.conv.weight", f"{ours}.torgb.bias": f"{rgb}.bias",
            f"{ours}.torgb.affine.weight": f"{rgb}.conv.modulation.weight",
            f"{ours}.torgb.affine.bias": f"{rgb}.conv.modulation.bias",
        }  # fmt: skip
    return names


def mapping_names(layers: int) -> dict[str, str]:
    """The same for the mapping network, whose first entry there is a normalisation without weights."""
    return {f"mapping.fc{i}.{part}": f"style.{i + 1}.{part}" for i in range(layers) for part in ("weight", "bias")}


def discriminator_names(resolution: int) -> dict[str, str]:
    """Our names of a discriminator's weights -> theirs."""
    names = {f"b{resolution}.fromrgb.weight": "convs.0.0.weight", f"b{resolution}.fromrgb.bias": "convs.0.1.bias"}
    for place in range(1, resolution.bit_length() - 2):
        ours, theirs = f"b{resolution >> (place - 1)}", f"convs.{place}"
        names |= {
            f"{ours}.conv0.weight": f"{theirs}.conv1.0.weight", f"{ours}.conv0.bias": f"{theirs}.conv1.1.bias",
            f"{ours}.conv1.weight": f"{theirs}.conv2.1.weight", f"{ours}.conv1.bias": f"{theirs}.conv2.2.bias",
            f"{ours}.skip.weight": f"{theirs}.skip.1.weight",
        }  # fmt: skip
    return names | {
        "b4.conv.weight": "final_conv.0.weight", "b4.conv.bias": "final_conv.1.bias",
        "b4.fc.weight": "final_linear.0.weight", "b4.fc.bias": "final_linear.0.bias",
        "b4.out.weight": "final_linear.1.weight", "b4.out.bias": "final_linear.1.bias",
    }  # fmt: skip


def read_rosinality(path: Path, checkpoint: Mapping[str, Any], network: Network) -> Found:
    """One network of a checkpoint, of training or converted.

    Args:
        path: where it came from, for sentences.
        checkpoint: what the ``.pt`` file holds.
        network: ``G_ema``, ``G`` or ``D``.

    Raises:
        GanvasError: if it is not as that code writes it.
        NetworkMissingError: if it holds no such network.
    """
    checkpoint = _networks(checkpoint)
    theirs = checkpoint.get(ENTRIES[network])
    if not isinstance(theirs, Mapping):
        known = [ours for ours, entry in ENTRIES.items() if isinstance(checkpoint.get(entry), Mapping)]
        raise NetworkMissingError(f"{path} holds no network {network}, but {', '.join(known) or 'none'}: "
                                  "choose one of these.")  # fmt: skip
    try:
        if network == "D":
            return discriminator_of(theirs, FORMAT)
        return _generator(theirs, checkpoint.get("latent_avg"))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise GanvasError(f"the network {network} in {path} is not as rosinality's stylegan2-pytorch writes it "
                          f"({error}); export it again.") from error  # fmt: skip


def _networks(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entries by rosinality's names. Checkpoints of pSp and e4e hold the generator as ``decoder`` of the whole."""
    whole = checkpoint.get("state_dict")
    decoder = {} if not isinstance(whole, Mapping) else {
        name.removeprefix(DECODER): value for name, value in whole.items() if str(name).startswith(DECODER)
    }  # fmt: skip
    return {**checkpoint, ENTRIES["G_ema"]: decoder} if decoder else checkpoint


def _generator(theirs: Mapping[str, Tensor], w_avg: Tensor | None) -> Found:
    resolution = 4 * 2 ** count_names(theirs, r"to_rgbs\.\d+\.conv\.weight")
    layers = count_names(theirs, r"style\.\d+\.weight")
    names = {**generator_names(resolution), **mapping_names(layers)}
    w_dim = theirs["style.1.weight"].shape[1]
    weights = {2**i: theirs[names[f"synthesis.b{2**i}.conv1.weight"]] for i in range(2, resolution.bit_length())}
    config = {"img_resolution": resolution, "z_dim": w_dim, "w_dim": w_dim, "mapping_layers": layers,
              "mapping_lr_mult": LR_MULT, **channel_arguments({r: w.shape[1] for r, w in weights.items()})}  # fmt: skip
    empty = _empty("stylegan2", config)
    tensors = _ours(empty, theirs, names, kernel_sum=4.0)
    for name, like in empty.state_dict().items():
        if name.endswith("noise_const") and name not in tensors:  # early versions kept none: any will do, but the same
            tensors[name] = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    tensors["mapping.w_avg"] = _mean_w(empty, tensors) if w_avg is None else w_avg.reshape(-1, w_dim)[0]
    return Found("stylegan2", config, tensors, FORMAT)


def discriminator_of(theirs: Mapping[str, Tensor], source: str) -> Found:
    """A discriminator by its names and shapes, in a file of the format ``source``; others took over this one.

    Raises:
        KeyError, ValueError: if it is another network.
    """
    resolution = 4 * 2 ** count_names(theirs, r"convs\.\d+\.skip\.1\.weight")
    names = discriminator_names(resolution)
    channels = {2**i: theirs[names[f"b{2**i}.conv0.weight"]].shape[1] for i in range(3, resolution.bit_length())}
    channels = {4: len(theirs["final_conv.0.weight"]), **channels}
    config = {"img_resolution": resolution, **channel_arguments(channels)}
    tensors = _ours(_empty("stylegan2_discriminator", config), theirs, names, kernel_sum=1.0)
    return Found("stylegan2_discriminator", config, tensors, source)


def _empty(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A network of ours without memory for its weights."""
    with torch.device("meta"):
        return known_networks()[kind]()(**config)


def _ours(
    network: nn.Module, theirs: Mapping[str, Tensor], names: Mapping[str, str], kernel_sum: float
) -> dict[str, Tensor]:
    """Their weights under our names and of our shapes, with the filters; what they lack is left out.

    Raises:
        ValueError: if a weight has another size, there is one that we do not know, or a kernel is not ours.
    """
    unknown = theirs.keys() - set(names.values()) - {name for name in theirs if name.endswith(".kernel")}
    if unknown:
        raise ValueError(f"it has {min(unknown)}, which is unknown")
    for name in theirs.keys() - set(names.values()):
        if not torch.allclose(theirs[name], setup_filter() * kernel_sum):
            raise ValueError(f"{name} is not made of the taps 1, 3, 3, 1")
    found = {}
    for name, like in network.state_dict().items():
        if name.endswith("resample_filter"):
            found[name] = setup_filter()
        elif names.get(name) in theirs:
            found[name] = theirs[names[name]].reshape(like.shape)
    return found


def _mean_w(generator: nn.Module, tensors: Mapping[str, Tensor]) -> Tensor:
    """The mean of W over a fixed draw, as that repository takes it over a random one."""
    mapping = copy.deepcopy(generator.mapping).to_empty(device="cpu")
    own = {name.removeprefix("mapping."): value for name, value in tensors.items() if name.startswith("mapping.")}
    mapping.load_state_dict(own, strict=False)  # all but w_avg
    z = torch.randn(W_AVG_SAMPLES, mapping.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return mapping(z)[:, 0].mean(dim=0)


def write_rosinality(path: Path, network: nn.Module) -> tuple[str, ...]:
    """Write a generator, as ``g_ema``, or a discriminator, as ``d``: a checkpoint that rosinality's code loads.

    Returns:
        Sentences on what has no equivalent there and is left out, because it changes no image and no logit.

    Raises:
        GanvasError: if the network has parts that this format cannot hold, or the file cannot be written.
    """
    config, ours = network.config, stored_tensors(network)
    match kind := kind_of(network):
        case "stylegan2":
            entries = {"g_ema": generator_entries(path, network), "latent_avg": ours["mapping.w_avg"]}
        case "stylegan2_discriminator":
            _require_equivalent(path, config, DISCRIMINATOR_HAS)
            entries = {"d": _their_discriminator(config, ours)}
        case _:
            raise GanvasError(f"{path} cannot be written: rosinality's format has no place for a {kind}; write a "
                              "bundle (.safetensors) instead.")  # fmt: skip
    with atomic_path(path) as temporary:
        torch.save(entries, temporary)
    if config["conv_clamp"] is None:
        return ()
    agree = "images" if kind == "stylegan2" else "logits"
    return (f"conv_clamp={config['conv_clamp']:g} has no equivalent there: {agree} agree where nothing reaches it",)


def generator_entries(path: Path, generator: nn.Module) -> dict[str, Tensor]:
    """A generator's weights under rosinality's names, for a file that holds more than them.

    Raises:
        GanvasError: if it is no StyleGAN2, or has parts that this format cannot hold.
    """
    if kind_of(generator) != "stylegan2":
        raise GanvasError(f"{path} cannot be written: there is no place for a {kind_of(generator)} in it.")
    _require_equivalent(path, generator.config, GENERATOR_HAS | {"z_dim": generator.config["w_dim"]})
    return _their_generator(generator.config, stored_tensors(generator))


def _their_generator(config: Mapping[str, Any], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {**generator_names(config["img_resolution"]), **mapping_names(config["mapping_layers"])}
    theirs = {name: _with_ones(name, ours[own]) for own, name in names.items()}
    for i in range(config["img_resolution"].bit_length() - 3):
        for kernel in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel"):
            theirs[kernel] = setup_filter() * 4
    return theirs


def _their_discriminator(config: Mapping[str, Any], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs = {name: ours[own].clone() for own, name in discriminator_names(config["img_resolution"]).items()}
    for place in range(1, config["img_resolution"].bit_length() - 2):
        for kernel in (f"convs.{place}.conv2.0.kernel", f"convs.{place}.skip.0.kernel"):
            theirs[kernel] = setup_filter()
    return theirs


def _with_ones(name: str, value: Tensor) -> Tensor:
    """A weight of ours in their shape."""
    if name.startswith("noises."):
        return value[None, None].clone()
    if name == "input.input" or name.endswith(".conv.weight"):
        return value[None].clone()
    if name.endswith(".noise.weight"):
        return value.reshape(1).clone()
    if re.fullmatch(r"to_rgb(1|s\.\d+)\.bias", name):
        return value.reshape(1, -1, 1, 1).clone()
    return value.clone()


def _require_equivalent(path: Path, config: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuse what their networks have no argument for."""
    for name, value in fixed.items():
        if config[name] != value:
            raise GanvasError(f"{path} cannot be written: rosinality's network has {name}={value}, and this one "
                              f"{config[name]}; write a bundle (.safetensors) instead.")  # fmt: skip
    size, base, largest = config["img_resolution"], config["channel_base"], config["channel_max"]
    channels = block_channels(size, base, largest, config.get("channels"))
    multiple = PLAIN_BASE * max(1, round(channels[size] * size / PLAIN_BASE))
    for r, count in channels.items():
        if count != (CHANNEL_MAX if r <= PLAIN_UP_TO else multiple // r):
            raise GanvasError(f"{path} cannot be written: rosinality's network has 512 channels up to 32x32 and a "
                              f"whole multiple of {PLAIN_BASE}/resolution above, and this one has {count} at "
                              f"{r}x{r}; write a bundle (.safetensors) instead.")  # fmt: skip
