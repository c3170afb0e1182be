"""Both sides of the benchmark mix the same classes, and its figures are there under the names that are promised."""

from __future__ import annotations

import pytest
import torch

from benchmarks import collage
from benchmarks.collage import ClassMix, Size, measure
from networks.collage.conditional import SpatialAffines
from networks.collage.regions import Region
from tests.networks.test_collage_stylegan2 import generator

SMALL = Size(frames=2, resolution=32, classes=5, repeats=1, large=32, channel_base=256)


def test_the_recipe_mixes_what_we_mix() -> None:
    mix = ClassMix(SMALL)
    norm, size = mix.synthesis.norms["block4.b2"]
    norm.gammas.data.normal_()
    ours = SpatialAffines(mix.synthesis, torch.eye(5)[[0, 1]].expand(2, -1, -1), [Region(mix.masks)])["block4.b2"]
    weights = torch.stack([1 - mix.masks, mix.masks], dim=-1)  # at the image's resolution: no resizing on either side
    assert size == SMALL.resolution
    torch.testing.assert_close(ours.gain, (weights @ norm.gammas[:2]).permute(0, 3, 1, 2))
    assert mix.recipe() == 2 * 5 * 4 * sum(size**2 for _, size in mix.synthesis.norms.values())


def test_figures_have_their_names() -> None:
    figures, rows = measure(SMALL, "cpu", generator())
    assert figures.keys() == {
        "class_mix_memory_ratio", "class_mix_speedup", "spatial_cost_k4", "spatial_cost_k4_32"
    }  # fmt: skip
    assert figures["class_mix_memory_ratio"] == pytest.approx(2.5)  # five classes against the two that are used
    assert [row["side"] for row in rows] == ["ours", "original"]
    assert collage.FRAMES * collage.CLASSES * 4 * 109_200 == 999_398_400  # bytes, at the size of the full run
