"""How far judges of attributes can be trusted: what they say of a change that nobody sees, beside what an edit did.

Of images that a generator draws many lie near a judge's boundary, so that it changes its word on them for nothing. That
share is the floor of an edit's success and leakage: no edit can be shown to leave an attribute alone more often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from launch.figures import Figure, Protocol, all_by
from launch.text_scores import TextScores
from networks.latent import NOISE, Latent
from networks.protocol import Generator
from networks.rendering import render_batches

SEED = 1_000_005
LEVEL = 1 / 255    # of the pixels' range: how far they move in the mean
STEP = "a random step of the codes that moves pixels by one of 256 levels"
FIRST = 0.01       # in deviations of the codes: the step from which the right one is found


def unseen_step(generator: Generator, latent: Latent, before: Tensor) -> Tensor:
    """Images ``[N, C, R, R]`` in [-1, 1] after a random step of the codes that moves pixels by one of 256 levels.

    Args:
        generator: that draws them.
        latent: codes ``[N]``, on its device.
        before: their images, on the CPU.
    """
    rng = torch.Generator().manual_seed(SEED)
    steps = {
        name: torch.randn(x.shape, generator=rng).to(x) * x.std(0) for name, x in latent.tensors.items()
        if not name.startswith(NOISE)
    }  # fmt: skip

    def drawn(size: float) -> Tensor:
        moved = latent.replace(**{name: latent.tensors[name] + size * step for name, step in steps.items()})
        return torch.cat(list(render_batches(generator, moved))).clamp(-1, 1)

    moved = float((drawn(FIRST) - before).abs().mean() / 2)
    return drawn(FIRST * LEVEL / moved) if moved else before


def trust(scores: TextScores, unseen: Tensor, base: Protocol) -> dict[str, Figure]:
    """What stands beside success and leakage: floors, and by attribute how often and how well the judge can tell.

    Args:
        scores: of an edit by text.
        unseen: the same images after a change that nobody sees.
        base: protocol of figures on these images.

    Returns:
        ``success_floor``, ``floor`` (mean), ``floor_worst`` and ``floor <attribute>``: what success and leakage are of
        such a change; ``agreed <attribute>``: share of images in which leakage counts; ``accuracy <attribute>``: of
        the judge, on held-out images whose truth is known, as its bundles say. Nothing if the text names nothing.
    """
    judge = scores.judges.attributes
    floors = {
        "success_floor" if name == "success" else name.replace("leakage", "floor", 1): value
        for name, value in scores.changes(unseen).items()
    }  # fmt: skip
    agreed = {name: share for name, share in scores.agreement().items() if f"floor {name}" in floors}
    accuracy = {f"accuracy {name}": judge.accuracy[name] for name in agreed if name in judge.accuracy}
    return (
        all_by(replace(base, network=judge.name, how=f"after {STEP}"), floors)
        | all_by(replace(base, network=judge.name, how="before an edit"), {f"agreed {k}": v for k, v in agreed.items()})
        | all_by(Protocol("held-out images of the judge's own bundles", "", None, judge.name), accuracy)
    )


def trust_table(value: Mapping[str, float]) -> list[str]:
    """Lines of :func:`trust_rows`."""
    return [f"{name:<16}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in trust_rows(value)]


def trust_rows(value: Mapping[str, float]) -> list[list[str]]:
    """A row of titles, then of each attribute its leakage, the floor of that, and how far the judge can be trusted."""
    columns = {"leakage": "leakage", "floor": "floor", "agreed": "counted", "accuracy": "accuracy"}
    names = [name.removeprefix("leakage ") for name in value if name.startswith("leakage ")]
    rows = [["attribute", *columns.values()]]
    for name in sorted(names, key=lambda name: -value[f"leakage {name}"]):
        cells = (value.get(f"{column} {name}") for column in columns)
        rows.append([name, *("-" if cell is None else f"{cell:.3f}" for cell in cells)])
    return rows
