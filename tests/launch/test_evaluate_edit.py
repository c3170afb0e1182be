"""``ganvas evaluate recipe=NAME``: an edit of a small branch is learned, applied and judged, in each way there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from datamodules.avatar_attributes import avatar_attributes
from editors import load_edit
from launch.cli import OK, REFUSED, main
from launch.figures import read_figures
from networks.attributes import AttributeClassifier, load_attributes, save_attributes
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.generators import load_generator
from networks.identity import IdentityNetwork, save_identity
from tests.launch.conftest import AvatarRun

FAST = ["recipe=smile", "n=3", "recipe.examples=2", "edit.steps=2", "metrics_features=[stlpips-alex]"]
ALONE = ["metrics_features=[]", "identity=null"]   # the edit, and nothing else that takes time


@pytest.fixture(scope="module")
def judges(avatar_run: AvatarRun, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Networks with random weights, as the words that name them. Half of what the generator draws smiles, for sure."""
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    network = AttributeClassifier(avatar_attributes("avataaars"), 16, width=8).eval()
    generator = load_generator(avatar_run.generator)
    with torch.no_grad():
        said = network(generator.render(generator.sample(100, 1)).clamp(-1, 1))["smile"].diff()
        network.heads[0].bias[1] -= said.median()
        for parameter in network.heads[0].parameters():
            parameter.mul_(1e6)
    save_attributes(folder / "judge.safetensors", network, {})
    save_identity(folder / "identity.safetensors", IdentityNetwork(16, width=8), {})
    judge = f"{folder / 'judge.safetensors'}"
    return [f"judge={judge}", f"classifier={judge}", f"identity={folder / 'identity.safetensors'}"]


@pytest.fixture
def evaluate(avatar_run: AvatarRun, judges: list[str], shared_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))

    def run(*words: str) -> int:
        given = {word.partition("=")[0]: word for word in
                 [f"segmentation={avatar_run.bundle}", *FAST, *judges, *words]}  # fmt: skip
        return main(["evaluate", *given.values()])

    return run


def test_a_vector_is_learned_applied_and_judged(evaluate, tmp_path: Path) -> None:
    assert evaluate("refine=2", f"out={tmp_path / 'a'}") == OK
    found = read_figures(tmp_path / "a").figures
    assert {"success", "success_before", "leakage", "identity", "identity_before", "outside",
            "kid_stlpips_alex_x1000", "fid_stlpips_alex", "seconds_each"} <= found.keys()  # fmt: skip
    assert not {"leakage smile", "leakage mouth", "leakage open mouth"} & found.keys()  # what a smile may change
    assert found["success"].protocol.network.startswith("judge ")
    assert found["success"].protocol.data == "rendered avataaars with mouth=serious"
    assert (tmp_path / "a" / "images" / "edits.png").is_file()
    assert (tmp_path / "a" / "images" / "strip.png").is_file()
    vector = load_edit(tmp_path / "a" / "vector.safetensors")
    assert (vector.name, vector.region) == ("smile", ("mouth",))
    assert read_manifest(tmp_path / "a" / "vector.safetensors")["metrics"]["leakage"] == found["leakage"].value
    # The same vector from its file finds the same, and is not written again.
    assert evaluate("refine=2", f"vector={tmp_path / 'a' / 'vector.safetensors'}", f"out={tmp_path / 'b'}") == OK
    again = read_figures(tmp_path / "b").figures
    for name in ("success", "leakage", "identity", "outside"):
        assert again[name].value == pytest.approx(found[name].value, abs=1e-6)
    assert not (tmp_path / "b" / "vector.safetensors").exists()


def test_a_vector_goes_to_another_style_with_what_is_known_of_it(evaluate, tmp_path: Path) -> None:
    assert evaluate(*ALONE, f"out={tmp_path / 'a'}") == OK
    elsewhere = ["data.style=micah", "recipe.where=smile=no", f"vector={tmp_path / 'a' / 'vector.safetensors'}"]
    assert evaluate(*ALONE, "inversion_steps=4", *elsewhere, f"out={tmp_path / 'b'}") == OK
    here, there = (read_figures(tmp_path / name).figures for name in "ab")
    assert there["perceptual"].protocol.network == "stlpips-alex"
    assert there["psnr"].protocol.data == "rendered micah with smile=no"
    assert there["psnr"].protocol.how.endswith("inverted in 4 steps")
    for found in (here, there):
        assert 0 <= found["found"].value <= 1
        assert 0 <= found["found_iou"].value <= 1
        assert found["psnr"].value > 0
    # Nobody knows what the judge's other attributes would be in this style.
    leaks = {name.removeprefix("leakage ") for name in there if name.startswith("leakage ")}
    assert leaks <= {"glasses", "facial hair", "hat"}
    assert (tmp_path / "b" / "images" / "edits.png").is_file()


def test_a_judge_is_named_by_what_it_was_trained_on(evaluate, judges: list[str], tmp_path: Path) -> None:
    network, _ = load_attributes(judges[0].removeprefix("judge="))
    trained = {"trained_on": {"data": "avataaars, split teacher"}}
    judge = save_attributes(tmp_path / "judge.safetensors", network, trained)
    assert evaluate(f"judge={judge}", *ALONE, f"out={tmp_path / 'a'}") == OK
    judged = read_figures(tmp_path / "a").figures["success"].protocol
    assert judged.network.endswith(", trained on avataaars, split teacher")


def test_no_strength_is_no_edit(evaluate, tmp_path: Path) -> None:
    for method in ("vector", "optimisation"):
        assert evaluate(f"method={method}", "strength=0", f"out={tmp_path / method}") == OK
        found = {name: figure.value for name, figure in read_figures(tmp_path / method).figures.items()}
        assert found["success"] == found["success_before"]
        assert found["identity"] == pytest.approx(found["identity_before"])
        assert found["leakage"] == 0
        assert found["outside"] == pytest.approx(0, abs=1e-6)


def test_a_boundary_needs_no_masks(evaluate, tmp_path: Path) -> None:
    assert evaluate("method=boundary", "boundary_samples=200", f"out={tmp_path}") == OK
    assert 0 <= read_figures(tmp_path).figures["boundary_accuracy"].value <= 1
    assert load_edit(tmp_path / "vector.safetensors").space == "w+"


@pytest.mark.parametrize(("words", "says"), [
    (["segmentation=null"], "give segmentation=BUNDLE"),
    (["method=magic"], "method=magic must be one of vector, optimisation, boundary"),
    (["refine=-1"], "refine=-1 must be at least 0"),
    (["n=1"], "n=1 must be at least 2"),
    (["method=optimisation", "refine=3"], "leave vector= and refine= out"),
    (["recipe.reach=smile"], "recipe.reach=smile must read attribute=value"),
    (["recipe.where=nose=big"], "no attribute 'nose'"),
    (["recipe.where=mouth=wry"], "mouth is never 'wry'"),
    (["recipe.classes=[wings]"], "no class 'wings'"),
    (["recipe.images=x"], "recipe.images and recipe.masks go together"),
    (["recipe.program=grow mouth 0.05"], "needs one of recipe.changed and recipe.program"),
    (["data=folder"], "data=folder images=DIR table=FILE"),
    (["identity=nowhere.safetensors"], "there is no file nowhere.safetensors"),
])  # fmt: skip
def test_what_cannot_be_measured_is_one_sentence(evaluate, words: list[str], says: str, capsys) -> None:
    assert evaluate(*words) == REFUSED
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(error) == 1
    assert re.search(re.escape(says), error[0])


def test_a_judge_of_other_attributes_is_refused(evaluate, tmp_path: Path, capsys) -> None:
    other = AttributeClassifier(avatar_attributes("avataaars")[:3], 16, width=8)
    path = save_attributes(tmp_path / "other.safetensors", other, {})
    assert evaluate(f"judge={path}") == REFUSED
    assert "does not know what the images show of glasses, facial hair" in capsys.readouterr().err
