"""Inception-v3 as published FIDs use it (Szegedy et al. 2016; Heusel et al. 2017), behind torchvision's network.

The weights of 2015-12-05 that every published FID stands on were trained in TensorFlow, whose pooling differs from
torchvision's in three kinds of blocks. The pytorch-fid project keeps them under torchvision's names. No package carries
them: they are there, or the user is told where they belong, or allows their download.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops

SIZE = 299    # pixels a side that the network was trained on
WIDTH = 2048  # of the pooled features


@dataclass(frozen=True)
class Source:
    """One set of weights."""

    file: str
    url: str       # of the folder that holds the file
    classes: int   # of the classifier, which the file has and features do without
    fid: bool      # whether its pooling is TensorFlow's


SOURCES = {
    "inception": Source(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights", 1008, fid=True,
    ),
    "inception-torchvision": Source(
        "inception_v3_google-0cc3c7bd.pth", "https://download.pytorch.org/models", 1000, fid=False,
    ),
}  # fmt: skip

# TensorFlow's average leaves the padding out. The last block takes a maximum, which no paper has but every FID.
_average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_maximum = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
POOLS = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _average),
    "Mixed_7b": _average,
    "Mixed_7c": _maximum,
}


class Inception(nn.Module):
    """Pooled features ``[N, 2048]`` of images in [-1, 1], resized to 299 pixels without a filter; frozen.

    The resizing is part of the figure: this is pytorch-fid's, and other implementations have others.

    Args:
        source: which weights the network is for.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        declare_torchvision_ops()
        from torchvision.models import inception_v3  # a second of import, for this critic alone

        self.net = inception_v3(num_classes=source.classes, aux_logits=False, weights=None, init_weights=False)
        if source.fid:
            for name, pool in POOLS.items():
                getattr(self.net, name).register_forward_hook(_repool(pool))
        self.classifier, self.net.fc = self.net.fc, nn.Identity()
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, name: str, weights: str | Path | None = None, allow_download: bool = False) -> Inception:
        """The network with the weights of a file.

        Raises:
            GanvasError: if the file is missing, cannot be read, or holds other weights.
        """
        source = SOURCES[name]
        path = find_weights(name, source, weights, allow_download)
        tensors = _read(path)
        with torch.random.fork_rng(devices=[]):  # initial values are drawn and thrown away
            network = cls(source)
        # torchvision's file has a second classifier, and counts of batches that files of old torch lack.
        own = {f"net.{key}" if not key.startswith("fc.") else f"classifier.{key[3:]}": value
               for key, value in tensors.items() if not key.startswith("AuxLogits.")}  # fmt: skip
        wanted = network.state_dict()
        wrong = sorted(key for key in own.keys() | wanted.keys() if not key.endswith("num_batches_tracked")
                       and (key not in own or key not in wanted or own[key].shape != wanted[key].shape))  # fmt: skip
        if wrong:
            raise GanvasError(f"{path} does not hold the weights of {source.file}, by {len(wrong)} tensors "
                              f"({wrong[0].partition('.')[2]}, ...): give that file, of {source.url}/")  # fmt: skip
        network.load_state_dict(own, strict=False)
        return network

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [N, 3, H, W], got {list(images.shape)}")
        return self.net(F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False))


def find_weights(name: str, source: Source, weights: str | Path | None, allow_download: bool) -> Path:
    """The file: the one that is named, else the one in the torch hub folder, fetched into it where that is allowed.

    Raises:
        GanvasError: if there is no such file, or it cannot be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / source.file if weights is None else Path(weights)
    if path.is_file():
        return path
    if weights is not None:
        raise GanvasError(f"there is no file {path}: metrics_weights= must name the file {source.file}")
    url = f"{source.url}/{source.file}"
    if not allow_download:
        raise GanvasError(f"features {name} need weights that are not here: put {url} at {path}, name the file with "
                          "metrics_weights=, or give allow_download=true")  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The end of the name is the beginning of the file's sha256.
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
    except (OSError, RuntimeError) as error:  # RuntimeError: another hash
        raise GanvasError(f"{url} could not be fetched ({error}): put the file at {path} yourself") from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise GanvasError(f"{path} cannot be read as PyTorch weights: fetch it again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise GanvasError(f"{path} holds no state dict, a name for each tensor: fetch it again")
    return tensors


def _repool(pool: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    """A hook that recomputes a block's pooled branch, the last of those that it joins, after another pooling."""

    def hook(block: nn.Module, inputs: tuple[Tensor], joined: Tensor) -> Tensor:
        pooled = block.branch_pool(pool(inputs[0]))
        return torch.cat([joined[:, : -pooled.shape[1]], pooled], dim=1)

    return hook
