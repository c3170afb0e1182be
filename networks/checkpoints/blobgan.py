"""Checkpoints of github.com/dave-epstein/blobgan (Lightning's ``.ckpt``): generator, layout network, discriminator.

The layout network's last layer names its outputs in another order there; the rest are our weights under other names.
Stored noise is left out: its maps have sizes that no layer uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuda_ops.upfirdn2d import setup_filter
from networks.checkpoints.architecture import count_names
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import Found, Network, NetworkMissingError
from networks.checkpoints.pickles import plain
from networks.checkpoints.rosinality import discriminator_of

FORMAT = "BlobGAN checkpoint"
ENTRIES = {"G_ema": "_ema.", "G": "."}       # what follows generator and layout_net in a name
LAYOUT, DECODER, CRITIC = "layout_net", "generator", "discriminator."
SMALLEST, AREA = 16, 0.02                    # where the file does not say
# The first release had this area and took the covariances out of the graph; both were changed within three months. What
# was trained between the two changes has the later area and does not tell: it is read as learned.
AREA_FROZEN = 0.01
NOTE_FROZEN = (
    f"ab_norm={AREA_FROZEN} is of BlobGAN's first release, where aspect and angle of blobs got no gradient, so the "
    "bundle has covariance: frozen"
)
LR_MULT = 0.01
AVERAGED = 10_000                            # draws behind the mean of the hidden code, as that repository takes it


def is_blobgan(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of this code base."""
    state = checkpoint.get("state_dict")
    return isinstance(state, Mapping) and any(str(name).startswith(LAYOUT) for name in state)


def read_blobgan(path: Path, checkpoint: Mapping[str, Any], network: Network) -> Found:
    """One network of a checkpoint.

    Args:
        path: where it came from, for sentences.
        checkpoint: what the file holds.
        network: ``G_ema`` or ``G`` (both with their layout network), or ``D``.

    Raises:
        GanvasError: if it is not as that code writes it.
        NetworkMissingError: if it holds no such network.
    """
    state = checkpoint["state_dict"]
    try:
        if network == "D":
            return discriminator_of(_under(path, state, CRITIC, network), FORMAT)
        suffix = ENTRIES[network]
        blobs, decoder = (_under(path, state, part + suffix, network) for part in (LAYOUT, DECODER))
        return _generator(blobs, decoder, checkpoint.get("hyper_parameters"))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise GanvasError(f"the network {network} in {path} is not as BlobGAN's code writes it ({error}); export it "
                          "again.") from error  # fmt: skip


def _under(path: Path, state: Mapping[str, Tensor], prefix: str, network: Network) -> dict[str, Tensor]:
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not found:
        raise NetworkMissingError(f"{path} holds no network {network}: choose another one of G_ema, G and D.")
    return found


def _generator(blobs: Mapping[str, Tensor], decoder: Mapping[str, Tensor], stated: Any) -> Found:
    if any(name.startswith("style.") for name in decoder):
        raise ValueError("its styles are not spatial: it has a mapping network")
    config = _config(blobs, decoder, stated if isinstance(stated, Mapping) else {})
    names = {**_layout_names(config["layers"]), **_decoder_names(config["smallest"], config["img_resolution"])}
    theirs = {**{f"{LAYOUT}.{name}": value for name, value in blobs.items()}, **decoder}
    unknown = {name for name in theirs.keys() - set(names.values()) if not re.search(r"\.kernel$|^noises\.", name)}
    if unknown:
        raise ValueError(f"it has {min(unknown)}, which is unknown")
    tensors = _ours(config, theirs, names)
    if config["covariance"] == "learned":
        return Found("blobgan", config, tensors, FORMAT)
    return Found("blobgan", config, tensors, f"{FORMAT}, of the first release: aspect and angle were not trained",
                 NOTE_FROZEN)  # fmt: skip


def _config(blobs: Mapping[str, Tensor], decoder: Mapping[str, Tensor], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments, from the shapes; three that no shape tells are read where the file states them."""
    layers = count_names(blobs, r"mlp\.\d+\.weight")
    first, last = blobs["mlp.1.weight"], blobs[f"mlp.{layers}.weight"]
    _, _, structure_dim, *_ = decoder["conv1.conv.weight"].shape
    style_dim = decoder["conv1.conv.modulation.weight"].shape[1]
    k, rest = divmod(len(last) - structure_dim - style_dim - 1, structure_dim + style_dim + 7)
    if rest or k < 1:
        raise ValueError(f"{len(last)} outputs of the layout network make no whole number of blobs")
    inner, outer = (_settings(stated, part) for part in (DECODER, LAYOUT))
    if stated.get("ab_norm", AREA) is None:
        raise ValueError("ab_norm is None: its blobs have no area in common")
    if not outer.get("norm_features", True):
        raise ValueError("norm_features is False: its features have no length in common")
    smallest = int(inner.get("size_in", SMALLEST))
    doublings = count_names(decoder, r"to_rgbs\.\d+\.conv\.weight")
    channels = [decoder["conv1.conv.weight"].shape[1]]
    channels += [decoder[f"convs.{2 * i + 1}.conv.weight"].shape[1] for i in range(doublings)]
    area = float(stated.get("ab_norm", AREA))
    return {
        "img_resolution": smallest << doublings, "k": k, "channels": channels, "z_dim": first.shape[1],
        "hidden_dim": last.shape[1], "layers": layers, "lr_mult": float(outer.get("mlp_lr_mul", LR_MULT)),
        "structure_dim": structure_dim, "style_dim": style_dim, "smallest": smallest, "area": area,
        "covariance": "frozen" if area == AREA_FROZEN else "learned",
    }  # fmt: skip


def _settings(stated: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """What the file states of a part, or nothing."""
    found = plain(stated.get(part))
    return found if isinstance(found, Mapping) else {}


def _layout_names(layers: int) -> dict[str, str]:
    """Our names of the layout network's weights -> theirs; the first entry there is a normalisation without weights."""
    ours = [*(f"fc{i}" for i in range(layers - 1)), "blobs"]
    return {f"layout_network.{name}.{part}": f"{LAYOUT}.mlp.{i + 1}.{part}"
            for i, name in enumerate(ours) for part in ("weight", "bias")}  # fmt: skip


def _decoder_names(smallest: int, largest: int) -> dict[str, str]:
    """Our names of the decoder's weights -> theirs."""
    names = {}
    for level in range(largest.bit_length() - smallest.bit_length() + 1):
        ours, first = f"synthesis.b{smallest << level}", 2 * (level - 1)
        layers = {"conv0": f"convs.{first}", "conv1": f"convs.{first + 1}"} if level else {"conv1": "conv1"}
        for layer, theirs in layers.items():
            names |= {
                f"{ours}.{layer}.weight": f"{theirs}.conv.weight",
                f"{ours}.{layer}.affine.weight": f"{theirs}.conv.modulation.weight",
                f"{ours}.{layer}.affine.bias": f"{theirs}.conv.modulation.bias",
                f"{ours}.{layer}.bias": f"{theirs}.activate.bias",
                f"{ours}.{layer}.noise_strength": f"{theirs}.noise.weight",
            }
        rgb = f"to_rgbs.{level - 1}" if level else "to_rgb1"
        names |= {
            f"{ours}.torgb.weight": f"{rgb}.conv.weight", f"{ours}.torgb.bias": f"{rgb}.bias",
            f"{ours}.torgb.affine.weight": f"{rgb}.conv.modulation.weight",
            f"{ours}.torgb.affine.bias": f"{rgb}.conv.modulation.bias",
        }  # fmt: skip
    return names


def outputs(k: int, structure_dim: int, style_dim: int) -> Tensor:
    """Where the outputs of our last layer are in theirs, ``int64 [n]``.

    Theirs: the sizes of background (unused) and blobs, the background's features, then for each blob its centre, four
    numbers of its covariance and its features. Ours: the background's features, then for each blob its centre, its
    size, those four, its features.

    Example:
        >>> outputs(1, 1, 1).tolist()
        [2, 3, 4, 5, 1, 6, 7, 8, 9, 10, 11]
    """
    features = structure_dim + style_dim
    sizes, behind, blobs = (torch.arange(n) + start for n, start in
                            zip((k + 1, features, k * (6 + features)),
                                accumulate((k + 1, features), initial=0), strict=True))  # fmt: skip
    blobs = blobs.unflatten(0, (k, -1))
    own = torch.cat([blobs[:, :2], sizes[1:, None], blobs[:, 2:]], dim=1)
    return torch.cat([behind, own.flatten()])


def _ours(config: Mapping[str, Any], theirs: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    from networks.blobgan import BlobGenerator

    with torch.device("meta"):
        empty = BlobGenerator(**config)
    place = outputs(config["k"], config["structure_dim"], config["style_dim"])
    found, rng = {}, torch.Generator().manual_seed(0)
    for name, like in empty.state_dict().items():
        if name.endswith("resample_filter"):
            found[name] = setup_filter()
        elif name.endswith("noise_const"):
            found[name] = torch.randn(like.shape, generator=rng)  # any will do, but the same
        elif name in names:
            value = theirs[names[name]]
            value = value[place] if name.startswith("layout_network.blobs.") else value
            found[name] = value.reshape(like.shape)
    return found | {"layout_network.hidden_avg": _mean_hidden(config, found)}


def _mean_hidden(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    """The mean of the code before the last layer over a fixed draw: no checkpoint holds it."""
    from networks.blobgan import LayoutNetwork

    prefix = "layout_network."
    network = LayoutNetwork(1, config["z_dim"], config["hidden_dim"], config["layers"], 1, 1, config["lr_mult"])
    own = {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}
    network.load_state_dict({name: value for name, value in own.items() if name.startswith("fc")}, strict=False)
    z = torch.randn(AVERAGED, config["z_dim"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.hidden(z).mean(dim=0)
