"""Whether a CLIP is set up as its weights were trained, judged by what it sees and not by what its name says.

First of all it must see anything: of damaged weights come features that are no numbers, which no comparison notices.
Weights do not say which activation or which mean they were trained with, and a file of weights loads into either; then
everything works a little worse. So a few pictures that nobody can mistake, plain colours, are compared with their names
as the model is set up, with the other form of GELU, and with the other usual means; if another set-up knows them
clearly better, it is named.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError, GanvasWarning
from networks.clip.identity import ClipIdentity
from networks.clip.model import ClipModel
from networks.clip.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing

MARGIN = 0.25   # nats by which another set-up must do better; two that fit differ by less
SCALE = 100.0   # of cosines, as CLIP has it
COLOURS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "red": (220, 20, 20), "green": (20, 150, 40), "blue": (20, 50, 220),
    "yellow": (250, 230, 30), "orange": (250, 140, 20), "purple": (130, 30, 160),
}  # fmt: skip
CHANCE = -math.log(len(COLOURS))
USUAL = {
    "CLIP's mean and deviation": (OPENAI_MEAN, OPENAI_STD), "mean 0 and deviation 1": ((0.0,) * 3, (1.0,) * 3),
    "mean 0.5 and deviation 0.5": ((0.5,) * 3, (0.5,) * 3),
}  # fmt: skip


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, which OpenAI's CLIP has in place of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def check_fit(clip: ClipModel, network: nn.Module, activation: str, mean: str) -> None:
    """Warn where another activation or another mean and deviation knows colours clearly better.

    Args:
        clip: the model as it was set up.
        network: the library's module, whose activations are tried in the other form.
        activation: how people give it another activation, as a part of a sentence.
        mean: how people give it another mean and deviation.

    Raises:
        GanvasError: if what it sees or reads is no numbers.
    """
    given = replace(clip.preprocessing, legacy=False)
    found, mend = {"": agreement(clip, given)}, {}
    require_numbers(clip.identity, found[""])
    with _other_activation(network) as other:
        if other:
            name = f"the activation {other}"
            found[name], mend[name] = agreement(clip, given), activation
    for name, (usual, std) in USUAL.items():
        if (usual, std) != (given.mean, given.std):
            found[name], mend[name] = agreement(clip, replace(given, mean=usual, std=std)), mean
    best = max(found, key=lambda name: found[name])
    if found[best] < CHANCE:
        said = (f"does not know plain colours (log-likelihood {found['']:.2f}, by chance {CHANCE:.2f}): its weights "
                "are untrained, or fit another architecture")  # fmt: skip
    elif found[best] > found[""] + MARGIN:
        said = (f"knows plain colours better with {best} (log-likelihood {found[best]:.2f}, as it is set up "
                f"{found['']:.2f}): if its weights were trained so, {mend[best]}")  # fmt: skip
    else:
        return
    warnings.warn(f"{clip.identity} {said}.", GanvasWarning, stacklevel=3)


def require_numbers(identity: ClipIdentity, *values: float | Tensor) -> None:
    """Refuse a CLIP whose features, or what was computed of them, are no finite numbers.

    Raises:
        GanvasError: naming the CLIP.
    """
    if not all(torch.as_tensor(value).isfinite().all() for value in values):
        raise GanvasError(f"{identity} gives features that are no numbers: its weights are damaged, so get the file "
                          "again.")  # fmt: skip


@torch.no_grad()
def agreement(clip: ClipModel, preprocessing: Preprocessing) -> float:
    """Mean log-likelihood of the right name of each plain colour, and of the right colour of each name."""
    texts = F.normalize(clip.text_tower.encode([f"a plain {name} picture" for name in COLOURS]).float(), dim=1)
    colours = torch.tensor(list(COLOURS.values())) / 127.5 - 1
    pictures = colours[:, :, None, None].expand(-1, -1, clip.resolution, clip.resolution).to(texts)
    logits = SCALE * F.normalize(clip.image_tower(preprocessing(pictures)).float(), dim=1) @ texts.T
    return float(logits.log_softmax(1).diagonal().mean() + logits.log_softmax(0).diagonal().mean()) / 2


@contextmanager
def _other_activation(network: nn.Module) -> Iterator[str]:
    """GELU for QuickGELU, or the reverse; the name of what is there instead, "" if the network has neither."""
    swapped: list[tuple[nn.Module, str, nn.Module]] = []
    for module in network.modules():
        for name, child in module.named_children():
            if type(child).__name__ in ("GELU", "GELUActivation"):
                swapped.append((module, name, QuickGELU()))
            elif type(child).__name__ in ("QuickGELU", "QuickGELUActivation"):
                swapped.append((module, name, nn.GELU()))
    own = [getattr(module, name) for module, name, _ in swapped]
    for module, name, other in swapped:
        setattr(module, name, other)
    try:
        yield type(swapped[0][2]).__name__ if swapped else ""
    finally:
        for (module, name, _), before in zip(swapped, own, strict=True):
            setattr(module, name, before)
