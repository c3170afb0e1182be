"""What BlobGAN's own code makes of weights that are made here; ``blobgan.json`` and ``blobgan.npz`` hold it.

    pip install einops
    python -m tests.networks.blobgan_release ../blobgan      # a checkout of dave-epstein/blobgan, at c527f1c

Its classes run as they are, on a CPU in single precision: ``BlobGAN.gen`` from noise to image, without jitter. Packages
that only its training and notebooks need are stood in for, and its CUDA sources are not compiled.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

SHAPES, ARRAYS = (Path(__file__).with_name(f"blobgan.{kind}") for kind in ("json", "npz"))
STOOD_IN = [
    "IPython", "IPython.display", "cleanfid", "inputimeout", "ipywidgets", "lpips", "moviepy", "moviepy.editor",
    "pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.core", "pytorch_lightning.core.memory",
    "pytorch_lightning.loggers", "pytorch_lightning.utilities", "torchvision", "torchvision.datasets",
    "torchvision.datasets.utils", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.utils",
    "tqdm.notebook", "wandb", "wandb.sdk.lib.config_util",
]  # fmt: skip
STEP = 2.0**-22     # of the numbers in the file: with every digit it would be twice as large
KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
LEARNED_AT = 0.01   # the layout network's learning-rate multiplier, by which its weights count
JUDGED = 16         # resolution of the images that the discriminator sees
Shapes = Mapping[str, list[int]]


@dataclass(frozen=True)
class Case:
    """One generator and the scenes it is asked for."""

    seed: int         # of weights and noise
    n: int            # scenes
    k: int            # blobs of a scene
    resolution: int   # of the image
    smallest: int     # where blobs enter
    z_dim: int        # width of z
    hidden_dim: int   # width of the layout network
    layers: int       # its depth
    structure: int    # width of what is in a blob
    style: int        # width of how it looks
    c_model: int      # an eighth of the channels
    area: float       # of blobs

    @property
    def z(self) -> Tensor:
        """``[n, z_dim]``."""
        return drawn([self.n, self.z_dim], self.seed)

    @property
    def noise(self) -> list[Tensor]:
        """A map ``[1, 1, R, R]`` for each convolution, coarse to fine."""
        doublings = (self.resolution // self.smallest).bit_length() - 1
        sizes = [self.smallest << (i + 1) // 2 for i in range(2 * doublings + 1)]
        return [drawn([1, 1, size, size], self.seed, i) for i, size in enumerate(sizes)]

    def weights(self, part: str, shapes: Shapes) -> dict[str, Tensor]:
        """The release's state dict of ``layout_net`` or ``generator``."""
        if part == "generator":
            return weights(shapes, self.seed, 4)
        found = {name: value / LEARNED_AT for name, value in weights(shapes, self.seed).items()}
        last = f"mlp.{self.layers}"
        found[f"{last}.weight"] *= 0.4  # so much the scenes differ
        found[f"{last}.bias"] = self.scene() / LEARNED_AT
        return found

    def scene(self) -> Tensor:
        """What the last layer has without z: blobs in a ring, each stretched and turned its own way.

        The release's order: sizes, the background's features, then a blob's centre, aspect, angle and features.
        """
        i = torch.arange(float(self.k))
        turn, aspect = 2.4 * i, (1.6 + 0.3 * i) * (-1) ** i
        blobs = torch.stack([1.2 * turn.cos(), 1.2 * turn.sin(), aspect, -aspect, *rotated(1.7 * i + 0.4)], 1)
        blobs = torch.cat([blobs, drawn([self.k, self.structure + self.style], self.seed, 1)], 1)
        behind = drawn([self.structure + self.style], self.seed, 2)
        return torch.cat([torch.full([self.k + 1], 1.5), behind, blobs.flatten()])


CASES = {
    "small": Case(1, 2, 3, 32, 16, 8, 12, 3, 10, 6, 1, 0.02),
    "large": Case(2, 1, 6, 64, 8, 12, 20, 5, 14, 9, 2, 0.015),
}


def rotated(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors at these angles, not of length one: to make them so is the release's part."""
    return 1.5 * angle.cos(), 1.5 * angle.sin()


def drawn(shape: list[int], *seed: int) -> Tensor:
    """Even numbers of mean 0 and variance 1."""
    return torch.from_numpy((2 * np.random.default_rng(seed).random(shape) - 1) * math.sqrt(3)).float()


def weights(shapes: Shapes, seed: int, kernel: float = 1) -> dict[str, Tensor]:
    """A state dict of these shapes by name; filters are what they always are, times ``kernel``."""
    return {
        name: KERNEL * kernel if name.endswith(".kernel") else drawn(shape, seed, i)
        for i, (name, shape) in enumerate(sorted(shapes.items()))
    }


def judged() -> Tensor:
    """Images for the discriminator, ``[2, 3, R, R]``."""
    return drawn([2, 3, JUDGED, JUDGED], 3)


class Lightning(nn.Module):
    """As much of a Lightning module as a model needs to be made."""

    def save_hyperparameters(self) -> None:
        """Nothing is saved."""


@contextmanager
def imported(checkout: Path) -> Iterator[ModuleType]:
    """The release's ``models``."""
    found = {name: mock.MagicMock(name=name) for name in STOOD_IN}
    found["pytorch_lightning"].LightningModule = Lightning
    compiled = mock.patch("torch.utils.cpp_extension.load")  # for a GPU; on a CPU it has other code
    path = mock.patch.object(sys, "path", [str(checkout / "src"), *sys.path])
    with mock.patch.dict(sys.modules, found), compiled, path:
        yield importlib.import_module("models")


def model_of(models: ModuleType, case: Case) -> nn.Module:
    """The release's model with our weights."""
    decoder = {
        "name": "models.networks.layoutstylegan.LayoutStyleGANGenerator", "size": case.resolution,
        "style_dim": case.style, "c_model": case.c_model, "size_in": case.smallest, "spatial_style": True,
        "override_c_in": case.structure,
    }  # fmt: skip
    layouts = {
        "name": "models.networks.layoutnet.LayoutGenerator", "noise_dim": case.z_dim, "feature_dim": case.structure,
        "style_dim": case.style, "mlp_n_layers": case.layers, "mlp_hidden_dim": case.hidden_dim,
        "mlp_lr_mul": LEARNED_AT, "n_features_max": case.k, "norm_features": True, "spatial_style": True,
    }  # fmt: skip
    model = models.BlobGAN(
        decoder, layouts, {"name": "StyleGANDiscriminator", "size": JUDGED}, noise_dim=case.z_dim, λ={},
        resolution=case.resolution, n_features_min=case.k, n_features_max=case.k, spatial_style=True,
        ab_norm=case.area,
    )  # fmt: skip
    for part in ("layout_net", "generator"):
        network = model.get_submodule(part)
        network.load_state_dict(case.weights(part, shapes_of(network)))
    model.discriminator.load_state_dict(weights(shapes_of(model.discriminator), 0))
    return model


def shapes_of(network: nn.Module) -> dict[str, list[int]]:
    """Names and shapes of a state dict."""
    return {name: list(value.shape) for name, value in network.state_dict().items()}


@torch.no_grad()
def made(model: nn.Module, case: Case) -> dict[str, Tensor]:
    """Layout, opacities, pyramid, the grids of structure and of the first layer's styles, image.

    Styles are after that layer's affine part and before they are normalised.
    """
    decoder = sys.modules["models.networks.layoutstylegan"]
    splat, grids = decoder.splat_features_from_scores, []

    def kept(*args: Any, **kwargs: Any) -> Tensor:
        grids.append(splat(*args, **kwargs))
        return grids[-1].clone()

    with mock.patch.object(decoder, "splat_features_from_scores", kept):
        layout, image = model.gen(case.z, ret_layout=True, noise=case.noise)
    # At 32x32 only, where the file stays small.
    opacities = model.generate_layout(case.z, ret_layout=True, size=case.smallest, score_size=32)["raw_scores"]
    found = {name: layout[name] for name in ("xs", "ys", "sizes", "covs", "features", "spatial_style")}
    found |= {f"weights{size}": level for size, level in layout["scores_pyramid"].items()}
    found |= {"structure": layout["feature_grid"], "styles": grids[0], "image": image}
    return found | {"opacities": opacities[..., 1:].permute(0, 3, 1, 2)}


def main(checkout: Path) -> None:
    """Write both files."""
    shapes, arrays = {}, {}
    with imported(checkout) as models:
        for title, case in CASES.items():
            model = model_of(models, case)
            shapes[title] = {part: shapes_of(model.get_submodule(part)) for part in ("layout_net", "generator")}
            arrays |= {f"{title}.{name}": value for name, value in made(model, case).items()}
        shapes["discriminator"] = shapes_of(model.discriminator)
        arrays["logits"] = model.discriminator(judged()).detach()
    SHAPES.write_text(json.dumps(shapes, indent=1) + "\n")
    rounded = {name: (value.double() / STEP).round().mul(STEP).float().numpy() for name, value in arrays.items()}
    np.savez_compressed(ARRAYS, **rounded)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
