"""BlobGAN's own splatting from a checkout of its release: functions alone, since its modules import a whole stack."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FUNCTIONS = {
    "src/utils/misc.py": ("rotation_matrix", "pyramid_resize", "splat_features_from_scores"),
    "src/models/blobgan.py": ("splat_features",),  # a method
}
# The uses that these functions make of einops, which nothing else here needs.
PATTERNS: dict[str, Callable[..., Tensor]] = {
    "n m (s1 s2) -> n s1 s2 m": lambda x, s1: x.unflatten(2, (s1, -1)).permute(0, 2, 3, 1),
    "n h w m -> n m h w": lambda x: x.permute(0, 3, 1, 2),
}


class OriginalBlobs:
    """The release's rendering and splatting, without jitter."""

    def __init__(self, checkout: Path) -> None:
        einops = types.SimpleNamespace(rearrange=lambda x, pattern, **sizes: PATTERNS[pattern](x, **sizes))
        self.scope: dict[str, Any] = {"torch": torch, "F": F, "einops": einops, "einsum": torch.einsum}
        for path, names in FUNCTIONS.items():
            tree = ast.parse((checkout / path).read_text())
            wanted = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
            future = ast.parse("from __future__ import annotations").body  # its annotations need names
            code = compile(ast.Module(future + wanted, []), path, "exec", dont_inherit=True)
            exec(code, self.scope)

    def weights(
        self, xs: Tensor, ys: Tensor, covs: Tensor, sizes: Tensor, resolution: int, smallest: int
    ) -> list[Tensor]:
        """The pyramid; ``covs`` are 2x2 matrices ``[N, K, 2, 2]``, ``sizes`` begin with the background's, unused."""
        model = types.SimpleNamespace(feature_jitter_xy=0, feature_jitter_shift=0,
                                      generator=types.SimpleNamespace(size_in=smallest))  # fmt: skip
        features = torch.ones(*sizes.shape, 1, dtype=xs.dtype, device=xs.device)
        made = self.scope["splat_features"](model, xs, ys, features, covs, sizes, smallest, resolution, covs_raw=False,
                                            ret_layout=False)  # fmt: skip
        return list(made["scores_pyramid"].values())

    def modulated(self, x: Tensor, weights: Tensor, styles: Tensor) -> Tensor:
        """Its splatting of styles, then the two lines of its convolution that normalise them and multiply."""
        style = self.scope["splat_features_from_scores"](weights, styles, x.shape[-1], channels_last=False)
        return x * (style * torch.rsqrt(style.pow(2).mean([1], keepdim=True) + 1e-8))
