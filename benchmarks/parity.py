"""Our recipe and our ``reference`` head beside the original's own classifier, loaded from a checkout at run time.

The original's licence is non-commercial, so none of its code is here: ``--original DIR`` names a checkout of
``nv-tlabs/editGAN_release``, and its class is imported from there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.original_recipe import LEARNING_RATE, PixelClassifier, Step, concatenated
from benchmarks.report import Result
from benchmarks.settings import Settings
from benchmarks.workloads import random_generator, random_labels
from networks.checkpoints.classifiers import head_of_members
from networks.checkpoints.errors import GanvasError

CLASSIFIER = Path("models") / "DatasetGAN" / "classifer.py"  # the original's spelling
RESOLUTION, CHANNEL_BASE, IMAGES = 32, 2048, 2
CLASS_COUNTS = (11, 34)                                       # one on each side of the change of widths
STEPS = 50   # rounding errors grow tenfold every five steps or so; past 100 they would hide what is compared


class _Run(NamedTuple):
    """One comparison: largest differences."""

    logits: float        # single precision, the same weights
    trajectory: float    # losses of all steps, double precision


def run(settings: Settings) -> Result:
    """Logits and training of the same weights on the same batches; all three must agree up to rounding."""
    if settings.original is None:
        return Result({"reference_max_diff": None}, {"original": "not at hand: give --original DIR"})
    original = load_original(settings.original)
    runs = {count: compare(original, count) for count in CLASS_COUNTS}
    figures = {
        "reference_max_diff": max(r.logits for r in runs.values()),
        "reference_trajectory_max_diff": max(r.trajectory for r in runs.values()),
    }
    return Result(figures, {
        "original": "pixel classifier of nv-tlabs/editGAN_release", "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "classes": list(CLASS_COUNTS), "steps": STEPS, "pixels": IMAGES * RESOLUTION**2,
    })  # fmt: skip


def load_original(checkout: Path) -> type[nn.Module]:
    """The original's classifier class.

    Raises:
        GanvasError: if ``checkout`` does not hold it.
    """
    path = checkout / CLASSIFIER
    if not path.is_file():
        raise GanvasError(
            f"{checkout} is no checkout of editGAN_release ({CLASSIFIER} is missing): "
            "clone it, and name it with --original."
        )
    spec = importlib.util.spec_from_file_location("original_classifier", path)
    module = importlib.util.module_from_spec(spec)
    with torch.random.fork_rng():  # importing it seeds torch
        spec.loader.exec_module(module)
    return module.pixel_classifier


def compare(original: type[nn.Module], num_classes: int) -> _Run:
    """Train the original's class, our own and the ``reference`` head from the same weights, side by side."""
    generator = random_generator(RESOLUTION, CHANNEL_BASE)
    labels = random_labels(generator, IMAGES, num_classes)
    with torch.no_grad():
        maps = [generator.render(latent, features=True)[1] for latent in labels.latents.split(1)]
        values = torch.cat([concatenated(x, RESOLUTION) for x in maps])
    theirs = original(num_classes, values.shape[1])
    _check_initialisation(theirs)
    ours = PixelClassifier(values.shape[1], num_classes)
    ours.load_state_dict(theirs.layers.state_dict())
    head = head_of_members([ours.state_dict()], generator)
    models = [model.double() for model in (theirs, ours, head)]
    trajectory = _train_side_by_side(models, values.double(), labels.masks.flatten().long())
    # The same weights again, now with running statistics that training has moved.
    ours.load_state_dict(theirs.layers.state_dict())
    head = head_of_members([ours.state_dict()], generator)
    theirs, ours, head = (model.float().eval() for model in (theirs, ours, head))
    with torch.no_grad():
        expected = theirs(values)
        by_head = torch.cat([head(x)[0, 0].flatten(1).T for x in maps])
        logits = max((found - expected).abs().max().item() for found in (ours(values), by_head))
    return _Run(logits, trajectory)


def _check_initialisation(theirs: nn.Module) -> None:
    """The original's own initialisation is what ours says it is."""
    theirs.init_weights()
    for layer in theirs.layers:
        if isinstance(layer, nn.Linear):
            std = layer.weight.std().item()
            assert abs(std - 0.02) < 0.002, f"the original draws weights with a deviation of {std}, not 0.02"
            assert not layer.bias.any(), "the original's biases do not start at zero"


def _train_side_by_side(models: Sequence[nn.Module], values: Tensor, classes: Tensor) -> float:
    """Largest difference between the losses of the original's class and of our two over the same batches."""
    theirs, ours, head = models
    plain = torch.optim.Adam(theirs.train().parameters(), lr=LEARNING_RATE)
    batched = torch.optim.Adam(head.train().parameters(), lr=LEARNING_RATE)
    step, rng, worst = Step(ours), torch.Generator().manual_seed(0), 0.0
    for _ in range(STEPS):
        picked = torch.randint(len(values), (64,), generator=rng)
        x, y = values[picked], classes[picked]
        expected = _descend(plain, nn.CrossEntropyLoss()(theirs(x), y))
        found = _descend(batched, cross_entropy(head.classify(x[None])[0], y))
        worst = max(worst, abs(expected - found), abs(expected - float(step(x, y))))
    return worst


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())
