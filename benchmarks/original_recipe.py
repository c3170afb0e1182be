"""The pixel classifiers of DatasetGAN and EditGAN as their authors train them: what our heads are compared with.

Zhang et al. 2021 (arXiv 2104.06490, section 3.1), Ling et al. 2021 (arXiv 2111.03186, section 3.2). Written from the
semantics of the released recipe: every feature map enlarged to the output's size, all of them concatenated, every pixel
of every image a training example, ten small networks trained one after another on batches of 64 pixels.

It is meant to be a fair opponent. ``shuffled_batches`` and a fused Adam give the same mathematics as the released loop
and take less time; ``loader_batches`` draws its batches as the release does. Ratios are taken against the faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, TensorDataset

from networks.checkpoints.classes import IGNORE
from networks.protocol import Features, Generator
from trainers.segmentation_data import Labels

BATCH = 64                  # pixels in a batch
MEMBERS = 10                # networks in an ensemble
LEARNING_RATE = 1e-3        # Adam's, throughout
MAX_EPOCHS = 100
FREE_EPOCHS = 4             # epochs before the stop rule begins to look
PATIENCE = 50               # batches without a new lowest loss that are still forgiven
MEDIAN_LAST_STEPS = 87      # steps of the fifth epoch until the rule fires, median over independent losses
SMALL_CLASS_PIXELS = 30     # a class with fewer pixels in an image is erased
SMALL_CLASS_AREA = 512**2   # the image area for which that number was chosen

Batches = Callable[["Pixels", torch.Generator], Iterator[tuple[Tensor, Tensor]]]


def hidden_widths(num_classes: int) -> tuple[int, int]:
    """Widths of the two hidden layers."""
    return (128, 32) if num_classes < 32 else (256, 128)


class PixelClassifier(nn.Sequential):
    """``D -> 128 -> 32 -> K`` (``256, 128`` from 32 classes): each hidden layer ReLU, then batch normalisation."""

    def __init__(self, width_in: int, num_classes: int) -> None:
        wide, narrow = hidden_widths(num_classes)
        super().__init__(
            nn.Linear(width_in, wide), nn.ReLU(), nn.BatchNorm1d(wide),
            nn.Linear(wide, narrow), nn.ReLU(), nn.BatchNorm1d(narrow),
            nn.Linear(narrow, num_classes),
        )  # fmt: skip
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)


def concatenated(features: Features, size: int, rows: int | None = None) -> Tensor:
    """Every map of one image enlarged to the output's size, side by side.

    Args:
        features: name -> ``[1, C, r, r]``; all of them are used, the constant too.
        size: pixels a side of the output.
        rows: keep the first so many rows of the output only.

    Returns:
        One row a pixel, ``[rows * size, D]``.
    """
    rows = size if rows is None else rows
    first = next(iter(features.values()))
    pixels = first.new_empty(rows * size, sum(x.shape[1] for x in features.values()))
    edges = [0]
    for x in features.values():
        edges.append(edges[-1] + x.shape[1])
    for x, (start, stop) in zip(features.values(), pairwise(edges), strict=True):
        large = interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        pixels[:, start:stop] = large[0, :, :rows].flatten(1).T
    return pixels


class Pixels(NamedTuple):
    """The training set: every labelled pixel of every image."""

    values: Tensor   # [P, D]
    classes: Tensor  # int64 [P]


@torch.no_grad()
def gather_pixels(generator: Generator, labels: Labels) -> Pixels:
    """Render, enlarge and concatenate all images; values pass through half precision, as the release stores them."""
    size, device = labels.masks.shape[-1], next(iter(labels.latents.tensors.values())).device
    count, width = len(labels), sum(channels for channels, _ in generator.feature_shapes.values())
    values = torch.empty(count * size**2, width, device=device)
    for i, latent in enumerate(labels.latents.split(1)):
        _, features = generator.render(latent, features=True)
        values[i * size**2 : (i + 1) * size**2] = concatenated(features, size).half()
    classes = labels.masks.flatten().long().to(device)
    labelled = classes != IGNORE
    return Pixels(values, classes) if bool(labelled.all()) else Pixels(values[labelled], classes[labelled])


def small_class_limit(size: int, scaled: bool = True) -> int:
    """How many pixels a class must have in an image of ``size`` pixels a side: 30, or the same share of the area.

    Example:
        >>> small_class_limit(512), small_class_limit(64), small_class_limit(64, scaled=False)
        (30, 0, 30)
    """
    return SMALL_CLASS_PIXELS * size**2 // SMALL_CLASS_AREA if scaled else SMALL_CLASS_PIXELS


def shuffled_batches(pixels: Pixels, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: batches gathered from a shuffled index. The fast way."""
    order = torch.randperm(len(pixels.classes), generator=rng).to(pixels.values.device)
    for picked in order.split(BATCH):
        yield pixels.values[picked], pixels.classes[picked]


def loader_batches(pixels: Pixels, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: a DataLoader over single pixels that collates 64 at a time. The released way."""
    yield from DataLoader(TensorDataset(*pixels), batch_size=BATCH, shuffle=True, generator=rng)


@dataclass
class StopRule:
    """Stops when more than 50 batches in a row, from the fifth epoch on, bring no new lowest loss."""

    lowest: float = float("inf")
    without: int = 0

    def __call__(self, epoch: int, loss: float) -> bool:
        if epoch < FREE_EPOCHS:
            return False
        better = loss < self.lowest
        self.lowest, self.without = (loss, 0) if better else (self.lowest, self.without + 1)
        return self.without > PATIENCE


@dataclass
class Ensemble:
    """Trained members and what they cost."""

    members: list[PixelClassifier] = field(repr=False)
    steps: list[int]         # of each member
    seconds: list[float]     # of each member

    def logits(self, values: Tensor) -> Tensor:
        """Mean logits, ``[P, D] -> [P, K]``."""
        return mean_logits(self.members, values)


@torch.no_grad()
def mean_logits(members: Sequence[nn.Module], values: Tensor) -> Tensor:
    """Mean over members, as EditGAN takes it: ``[P, D] -> [P, K]``."""
    total = members[0].eval()(values)
    for member in members[1:]:
        total = total + member.eval()(values)
    return total / len(members)


def train_ensemble(
    pixels: Pixels,
    num_classes: int,
    seed: int = 0,
    members: int = MEMBERS,
    batches: Batches = shuffled_batches,
    max_epochs: int = MAX_EPOCHS,
) -> Ensemble:
    """Train members one after another; they differ in their seed alone."""
    found = Ensemble([], [], [])
    for member in range(members):
        start = time.perf_counter()
        rng = torch.Generator().manual_seed(seed * 1_000_003 + member)
        classifier = new_classifier(pixels, num_classes, rng)
        found.steps.append(train_member(classifier, pixels, rng, batches, max_epochs))
        found.seconds.append(time.perf_counter() - start)
        found.members.append(classifier.eval())
    return found


def new_classifier(pixels: Pixels, num_classes: int, rng: torch.Generator) -> PixelClassifier:
    """A fresh member on the pixels' device, its weights drawn from ``rng``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        return PixelClassifier(pixels.values.shape[1], num_classes).to(pixels.values.device)


def train_member(
    classifier: PixelClassifier,
    pixels: Pixels,
    rng: torch.Generator,
    batches: Batches = shuffled_batches,
    max_epochs: int = MAX_EPOCHS,
) -> int:
    """Train one member until its stop rule fires; how many steps that took."""
    step, stop, steps = Step(classifier), StopRule(), 0
    for epoch in range(max_epochs):
        for x, y in batches(pixels, rng):
            loss = step(x, y)
            steps += 1
            # Reading the loss waits for the device, so it is read only where the rule looks at it.
            if epoch >= FREE_EPOCHS and stop(epoch, float(loss)):
                return steps
    return steps


class Step:
    """One step of one member: unweighted cross-entropy, Adam."""

    def __init__(self, classifier: nn.Module, fused: bool = True) -> None:
        self.classifier = classifier.train()
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=LEARNING_RATE, fused=fused)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self.classifier(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def median_steps(pixel_count: int) -> int:
    """Steps of one member by the stop rule: four epochs and the median of what the fifth adds.

    Example:
        >>> median_steps(16 * 512**2)
        262231
    """
    return FREE_EPOCHS * -(-pixel_count // BATCH) + MEDIAN_LAST_STEPS
