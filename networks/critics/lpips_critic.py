"""The original LPIPS (Zhang et al. 2018) of the package ``lpips``, behind the interface of the other critics.

The package holds the linear heads only; its trunks are torchvision's ImageNet weights, which no package carries.
They are never fetched here: they are there, or the user is told where they belong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.critics.lpips_distance import PerceptualCritic
from networks.torchvision_shim import declare_torchvision_ops

Trunk = Literal["alex", "vgg"]

TRUNK_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
MIN_SIZE = 32


class LpipsCritic(PerceptualCritic):
    """Wraps an ``lpips.LPIPS`` network.

    Args:
        network: an ``lpips.LPIPS``; its trunk and linear heads are used, its ``forward`` is not.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__([head.model[-1].weight for head in network.lins], MIN_SIZE)
        self.net = network.net
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, trunk: Trunk) -> LpipsCritic:
        """The network with torchvision's trunk from the local torch hub folder.

        Raises:
            GanvasError: if the package or the trunk's weights are missing.
        """
        _require_trunk(trunk)
        declare_torchvision_ops()
        try:
            import lpips
        except ImportError as error:
            raise GanvasError(f"critic lpips-{trunk} needs the package lpips ({error}): `pip install lpips`") from error
        return cls(lpips.LPIPS(net=trunk, version="0.1", verbose=False))

    def trunk(self, x: Tensor) -> list[Tensor]:
        return list(self.net(x))


def _require_trunk(trunk: Trunk) -> None:
    """Stop with the way to mend it if torchvision would have to download the trunk."""
    file = TRUNK_FILES[trunk]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise GanvasError(
            f"critic lpips-{trunk} needs torchvision's weights: download https://download.pytorch.org/models/{file} "
            f"to {path}, or use critic stlpips-{trunk}, which needs no download"
        )
