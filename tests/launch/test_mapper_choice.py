"""What judges say of mappers: the strengths that they recommend, and who judges in the paper's experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from launch import cli
from launch.compose import compose
from launch.figures import Protocol
from launch.mapper_choice import recommended_of
from launch.sweep_plan import plan
from networks.checkpoints.bundle import read_manifest
from tests.launch.conftest import attributes_bundle, tiny_judges

SMALL = [  # what makes a run last seconds, and changes no recipe
    "n=3", "task.batch_size=4", "task.training.total_images=8", "task.sources.count=8", "task.checkpoint_every=8",
    "task.clip.templates=false", "task.network.depth=2", "task.choose.codes=5", "trainer=cpu", "trainer.threads=1",
]  # fmt: skip


def test_strengths_are_recommended_by_whom_chose_or_none() -> None:
    """The table's rule is tested with `launch/text_scores.py`."""
    protocol = Protocol("codes", "seed 1", 5, "judge", how="of choosing")
    table = {0.5: {"success": 0.1, "leakage_worst": 0.0}, 1.0: {"success": 0.8, "leakage_worst": 0.05}}
    assert recommended_of(table, protocol) == ((1.0, 1.0), "success and worst leakage, 5 codes (seed 1), judge")
    leaking = {strength: {**found, "leakage_worst": 0.2} for strength, found in table.items()}
    found = recommended_of(leaking, protocol)
    assert (found.strengths, str(found)) == (None, "none")


def test_the_paper_s_full_size_fits_photos_by_their_own_recipe(
    tiny_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very command of `size=full`, with tiny networks: only what was asked for judges and holds the person."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    clip, identity = (word.partition("=")[2].strip("[]") for word in tiny_judges(tmp_path))
    judge = attributes_bundle(tmp_path)
    jobs = plan(compose("sweep", [
        "experiment=paper/styleclip_methods", "size=full", "seeds=1", f"generator={tiny_generator}", f"clip={clip}",
        "clip_judge=c", f"judge=[{judge}]", f"identity={identity}",
    ])).jobs  # fmt: skip
    optimise, mapper, _ = jobs
    assert f"preserve.identity_network={identity}" in optimise.words
    verb, *words = mapper.before["fitted"]
    assert (verb, words[0]) == ("train", "experiment=mapper/faces")
    words = [word for word in words if word != "trainer=gpu"]
    assert cli.main([verb, *words, *SMALL, f"out={tmp_path / 'run'}"]) == cli.OK
    manifest = read_manifest(tmp_path / "run" / "export" / "a_smiling_person.safetensors")
    assert manifest["neutral"] == "a person"
    assert manifest["trained_on"]["preserve"]["identity_network"] == identity
    used = (tmp_path / "run" / "config.yaml").read_text()
    assert OmegaConf.create(used).task.choose.judge == [str(judge)]
    assert "zoo/" not in used
