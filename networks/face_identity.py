"""Who a face is: ArcFace (Deng et al. 2019, arXiv 1801.07698) as StyleCLIP, pSp and e4e compare faces by it.

A residual network with squeeze-and-excitation, 50 layers deep, from the file ``model_ir_se50.pth`` of
InsightFace_Pytorch, whose names its modules have. The weights are their authors', and are not shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.architecture import residual_stages
from networks.checkpoints.bundle import Manifest, tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.pickles import read_torch
from networks.embedding import Embedding
from networks.encoders.irse import input_layer, residual_body

ALIGNED = 256                          # pixels a side of the aligned images that the face is cut out of
ROWS, COLUMNS = (35, 223), (32, 220)   # of the face among them
INPUT, LAST = 112, 7                   # pixels a side of what the network sees, and of its last map
FILE = "model_ir_se50.pth"


class FaceIdentity(Embedding):
    """Aligned faces ``[N, 3, R, R]`` in [-1, 1], as FFHQ has them, to unit vectors ``[N, dim]``."""

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 512),   # of the four stages
        units: Sequence[int] = (3, 4, 14, 3),            # blocks of each stage
        dim: int = 512,                                  # of the embedding
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_layer, self.body = input_layer(3, channels[0]), residual_body(channels, units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels[-1]), nn.Dropout(0.6), nn.Flatten(), nn.Linear(channels[-1] * LAST**2, dim),
            nn.BatchNorm1d(dim),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        x = images if images.shape[-1] == ALIGNED else F.adaptive_avg_pool2d(images, ALIGNED)
        face = F.adaptive_avg_pool2d(x[..., slice(*ROWS), slice(*COLUMNS)], INPUT)
        return F.normalize(self.output_layer(self.body(self.input_layer(face))), dim=1)


def load_face_identity(path: Path) -> tuple[FaceIdentity, Manifest]:
    """Read ``model_ir_se50.pth``; nothing in the file is run.

    Returns:
        The network in eval mode, frozen, and a manifest of its ``kind`` and ``hash``.

    Raises:
        GanvasError: if the file is missing, damaged, or holds another network.
    """
    if not path.is_file():
        raise GanvasError(f"there is no file {path}: give {FILE} of InsightFace_Pytorch, the network that StyleCLIP "
                          "knows faces by.")  # fmt: skip
    checkpoint = read_torch(path, "a network of faces")
    try:
        network = _network(checkpoint)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".:")
        raise GanvasError(f"{path} holds no network of faces that Ganvas knows ({reason}): give {FILE} of "
                          "InsightFace_Pytorch.") from error  # fmt: skip
    state = network.state_dict()
    if not all(x.isfinite().all() for x in state.values()):
        raise GanvasError(f"the weights in {path} are not all numbers: copy the file again.")
    return network.eval().requires_grad_(False), {"kind": "ir_se50", "hash": tensors_hash(state)}


def _network(checkpoint: Mapping[str, Any]) -> FaceIdentity:
    tensors = {name: x for name, x in checkpoint.items() if isinstance(x, Tensor)}
    channels, units = residual_stages({name: x.shape for name, x in tensors.items()})
    if len(channels) != 4:
        raise ValueError(f"it has {len(channels)} stages of blocks, not 4")
    with torch.random.fork_rng(devices=[]):  # initial values are drawn and thrown away
        network = FaceIdentity(channels, units, len(tensors["output_layer.3.weight"]))
    counts = {name: x for name, x in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(counts | tensors)  # files of old versions of PyTorch do not count batches
    return network
