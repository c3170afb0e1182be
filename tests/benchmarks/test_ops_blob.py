"""The blob ops' benchmark: its forms are the same maps, and its figures come out."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.ops_blob import Network, cases, figures, largest_difference
from benchmarks.original_blobs import FUNCTIONS, OriginalBlobs

TINY = Network("tiny", 1, 3, 32, ((24, 16, 2), (16, 32, 1)))


def test_ours_and_the_straightforward_forms_are_the_same_maps() -> None:
    made = cases("cpu", torch.float64, networks=[TINY])
    assert [case.op for case in made] == ["blob_splat", "spatial_modulation", "spatial_modulation"]
    for case in made:
        assert largest_difference(case, case.straightforward) < 1e-4  # blobs are drawn in single precision


def test_figures_have_their_names_and_the_memory_its_goal() -> None:
    found = figures(cases("cpu", networks=[TINY]), "cpu", rounds=1)
    for op in ("blob_splat", "spatial_modulation"):
        assert found[f"{op}_vs_straight"] == found[f"{op}_vs_straight_tiny"] > 0
        assert found[f"{op}_memory_ratio"] >= 5
        assert f"{op}_cpu_ratio" not in found  # no checkout of the original


def test_the_original_is_its_functions_alone(tmp_path: Path) -> None:
    """A file whose imports do not resolve, and whose annotations name what is not there."""
    for path, names in FUNCTIONS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        body = "(*args: Missing, **kwargs) -> Missing:\n    return {'scores_pyramid': {8: args[1]}}"
        functions = [f"def {name}{body}" for name in names]
        (tmp_path / path).write_text("\n".join(["import a_stack_of_packages", *functions]))
    x = torch.zeros(1, 2)
    assert OriginalBlobs(tmp_path).weights(x, x, torch.zeros(1, 2, 2, 2), torch.zeros(1, 3), 8, 8) == [x]
