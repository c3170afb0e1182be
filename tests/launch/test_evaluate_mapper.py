"""``ganvas evaluate mapper=`` and ``text=``: an edit by text on a tiny generator, judged at several strengths."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from datamodules.avatar_attributes import avatar_attributes
from launch.cli import OK, REFUSED, main
from launch.evaluate_mapper import CODES
from launch.figures import Figure, Protocol, read_figures
from launch.judge_floor import unseen_step
from launch.options import options
from launch.schema_evaluate import EvaluateConfig
from launch.text_attributes import named_by
from launch.text_scores import best_strength, recommended_strengths
from launch.text_verdict import verdict
from networks.attributes import AttributeClassifier, load_attributes, save_attributes
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.identity import IdentityNetwork, save_identity
from networks.latent_edit import LatentEdit
from networks.mapper import MapperEdit, Recipe, mapper_for
from networks.mapper.untrained import untrained
from tests.clips import tiny_clip

ATTRIBUTES = avatar_attributes("avataaars")


@pytest.fixture(scope="module")
def judges(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Networks with random weights, as the words that name them. Half of what the generator draws smiles, for sure."""
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    network = AttributeClassifier(ATTRIBUTES, 16, width=8).eval()
    generator = load_generator(tiny_generator)
    with torch.no_grad():
        said = network(generator.render(generator.sample(100, 1)).clamp(-1, 1))["smile"].diff()
        network.heads[0].bias[1] -= said.median()
    told = {"metrics": {"by_attribute": {"eyes": {"accuracy": 0.75}}}}
    save_attributes(folder / "judge.safetensors", network, told)
    save_identity(folder / "identity.safetensors", IdentityNetwork(16, width=8), {})
    judge = f"{folder / 'judge.safetensors'}"
    return [f"judge={judge}", f"classifier={judge}", f"identity={folder / 'identity.safetensors'}"]


@pytest.fixture(autouse=True)
def clips(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    monkeypatch.setattr("launch.text_methods.load_clip", lambda spec, legacy=False: tiny_clip())
    monkeypatch.setattr("launch.text_scores.load_clip", lambda spec: tiny_clip(1))


@pytest.fixture
def evaluate(tiny_generator: Path, judges: list[str]):
    def run(*words: str) -> int:
        given = {word.partition("=")[0]: word for word in
                 [f"generator={tiny_generator}", "n=12", "strengths=[0,1,2]", "metrics_features=[stlpips-alex]",
                  *judges, *words]}  # fmt: skip
        return main(["evaluate", *given.values()])

    return run


@pytest.fixture(scope="module")
def mapper(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = load_generator(tiny_generator)
    network = mapper_for(generator, "levels", Recipe(head="lrelu", step_scale=0.3))
    edit = LatentEdit("w+", {}, generator.hash, name="smile", module=MapperEdit.by(network))
    entries = {"text": "a smiling person", "neutral": "a person"}
    return save_edit(tmp_path_factory.mktemp("mapper") / "mapper.safetensors", edit, entries)


def test_a_mapper_is_judged_at_every_strength(evaluate, mapper: Path, tmp_path: Path, capsys) -> None:
    assert evaluate(f"mapper={mapper}", f"out={tmp_path}") == OK
    found = read_figures(tmp_path).figures
    assert {"success", "leakage", "leakage_worst", "clip_score", "clip_gain", "clip_direction", "identity",
            "perceptual", "kid_stlpips_alex_x1000", "strength", "residual_cosine", "residual_cosine_untrained",
            "inference_seconds", "shows", "success at 0", "success at 2", "identity at 1"} <= found.keys()  # fmt: skip
    assert not {"leakage smile", "leakage mouth", "leakage open mouth"} & found.keys()   # what a smile may change
    assert math.isnan(found["training_seconds"].value)   # the bundle lies in no run
    # Strength 0 is no edit.
    assert found["success at 0"].value == 0
    assert found["leakage_worst at 0"].value == 0
    assert found["identity at 0"].value == pytest.approx(1, abs=1e-5)
    assert found["clip_direction at 0"].value == pytest.approx(0, abs=1e-4)
    assert "seed 1000003" in found["success"].protocol.split
    assert found["clip_score"].protocol.network.startswith("judge avatar:tiny-32")
    assert found["success"].protocol.network.startswith("judge ")
    assert (tmp_path / "images" / "edits.png").is_file()
    assert (tmp_path / "images" / "pareto.png").is_file()
    assert not (tmp_path / "vector.safetensors").exists()
    printed = capsys.readouterr().out
    assert "names: smile=yes" in printed
    assert printed.count("\n       ") >= 3   # a line a strength
    line = next(line for line in printed.splitlines() if line.startswith("verdict: "))
    report = (tmp_path / "report.md").read_text()
    assert f"**Verdict:** {line.removeprefix('verdict: ')}." in report
    assert [row.split(" | ")[0] for row in report.splitlines() if row[:3] in ("| 0", "| 1", "| 2")] == [
        "| 0", "| 1", "| 2"]  # fmt: skip
    for picture in ("images/edits.png", "images/pareto.png"):
        assert f"]({picture})" in report


def test_another_clip_than_an_edits_own_is_not_taken_for_it(evaluate, mapper: Path, tmp_path: Path, capsys) -> None:
    edit, told = load_edit(mapper), {"text": "a smiling person"}
    own, other = (
        save_edit(tmp_path / f"{seed}.safetensors", edit, told | {"clips": [tiny_clip(seed).identity.to_json()]})
        for seed in (0, 2)
    )
    assert evaluate(f"mapper={own}", f"out={tmp_path / 'own'}") == OK
    assert "was fitted to" not in capsys.readouterr().err
    assert {"tells", "taken"} <= read_figures(tmp_path / "own").figures.keys()
    assert evaluate(f"mapper={other}", "strengths=[0]", f"out={tmp_path / 'other'}") == OK
    captured = capsys.readouterr()
    assert f"was fitted to {tiny_clip(2).identity}" in captured.err
    assert "the CLIP that the edit was fitted to is not the one that is given" in captured.out
    kept = read_figures(tmp_path / "other").figures
    assert not {"tells", "taken"} & kept.keys()
    assert kept["shows"].protocol.network.startswith("judge ")   # which no CLIP says


@pytest.mark.parametrize("method", ["direction", "optimise"])
def test_an_edit_that_is_made_here_is_kept_with_its_figures(method: str, evaluate, tmp_path: Path) -> None:
    fast = {"direction": ["channels=9"], "optimise": ["optimise.steps=2", "n=4"]}[method]
    assert evaluate("text=a happy person", f"method={method}", *fast, f"out={tmp_path / 'a'}") == OK
    found = read_figures(tmp_path / "a").figures
    manifest = read_manifest(tmp_path / "a" / "vector.safetensors")
    assert manifest["metrics"]["success"] == found["success"].value
    assert manifest["text"] == "a happy person"
    assert manifest["step_scale"] == 1
    assert f"strength {found['strength'].value:g}" in manifest["protocol"]
    low, high = manifest["recommended_strengths"]   # none less than half as successful, and all others kept
    assert 0 < low <= high == found["strength"].value
    assert manifest["recommended_by"].startswith("success and worst leakage, ")
    assert found[f"success at {low:g}"].value >= found["success"].value / 2
    assert found[f"leakage_worst at {high:g}"].value <= 0.1
    assert ("residual_cosine_untrained" in found) is False
    cosine = found["residual_cosine"].value
    assert cosine == pytest.approx(1, abs=1e-4) if method == "direction" else cosine < 0.999
    if method == "direction":   # the same edit from its file gives the same figures
        assert evaluate(f"mapper={tmp_path / 'a' / 'vector.safetensors'}", f"out={tmp_path / 'b'}") == OK
        again = read_figures(tmp_path / "b").figures
        for name in ("success", "leakage", "clip_score", "identity"):
            assert again[name].value == pytest.approx(found[name].value, abs=1e-6)


def test_beside_success_and_leakage_stands_how_far_the_judges_can_be_trusted(
    evaluate, mapper: Path, judges: list[str], tmp_path: Path, capsys
) -> None:
    assert evaluate(f"mapper={mapper}", f"out={tmp_path / 'a'}") == OK
    found = read_figures(tmp_path / "a").figures
    # One network for all roles: it agrees with itself, and says of the unseen step what it says.
    assert found["agreed eyes"].value == 1
    assert found["accuracy eyes"].value == 0.75
    assert "accuracy hat" not in found
    floors = {name: figure.value for name, figure in found.items() if name.startswith("floor ")}
    assert floors.keys() == {name.replace("leakage", "floor") for name in found if name.startswith("leakage ")}
    assert found["floor_worst"].value == max(floors.values())
    assert "moves pixels by one of 256 levels" in found["success_floor"].protocol.how
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["attribute", "leakage", "floor", "counted", "accuracy"] for line in lines)

    first = judges[0].removeprefix("judge=")
    network, _ = load_attributes(first)
    column = [attribute.name for attribute in ATTRIBUTES].index("hat")
    for weight in network.heads[column].parameters():   # of hats it always says something else
        weight.neg_()
    other = save_attributes(tmp_path / "other.safetensors", network, {})
    assert evaluate(f"mapper={mapper}", f"judge=[{first},{other}]", f"out={tmp_path / 'b'}") == OK
    both = read_figures(tmp_path / "b").figures
    assert both["success"].protocol.network.count("judge ") == 2
    assert both["agreed eyes"].value == 1
    assert "leakage hat" not in both   # none counts
    assert "accuracy eyes" not in both   # the second does not say its own


def test_an_unseen_step_moves_pixels_by_one_level(tiny_generator: Path) -> None:
    generator = load_generator(tiny_generator)
    codes = generator.sample(16, 0)
    with torch.no_grad():
        before = generator.render(codes).clamp(-1, 1)
    after = unseen_step(generator, codes, before)
    assert float((after - before).abs().mean()) * 127.5 == pytest.approx(1, rel=0.2)
    assert torch.equal(after, unseen_step(generator, codes, before))


def test_a_text_without_an_attribute_is_scored_by_the_rest(evaluate, mapper: Path, tmp_path: Path) -> None:
    assert evaluate(f"mapper={mapper}", "attribute=none", "identity=null", f"out={tmp_path}") == OK
    found = read_figures(tmp_path).figures
    assert not {"success", "leakage", "identity", "shows", "floor"} & found.keys()
    assert found["strength"].value == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe=smile"], "recipe= describes an edit by masks"),
        (["attribute=smile"], "must read attribute=value"),
        (["attribute=smile=perhaps"], "smile is never 'perhaps'"),
        (["attribute=nose=long"], "there is no attribute 'nose'"),
        (["affects=[nose]"], "there is no attribute 'nose'"),
        (["strengths=[]"], "must be one finite number or more"),
        (["strengths=[1e39]"], "must be one finite number or more"),
        (["strengths=[nan]"], "must be one finite number or more"),
        (["truncation=nan"], "truncation=nan must be finite"),
        (["truncation=inf"], "truncation=inf must be finite"),
        (["alpha=2"], "alpha= goes with method=direction"),
        (["neutral=a face"], "begins at its own neutral text 'a person'"),
        (["n=1"], "n=1 must be at least 2"),
        (["segmentation=x"], "segmentation= does not go with text="),
        (["text=a hat"], "was fitted to 'a smiling person', not to 'a hat'"),
        (["method=boundary"], "must be one of mapper, optimise, direction"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, said, evaluate, mapper: Path, tmp_path: Path, capsys) -> None:
    assert evaluate(f"mapper={mapper}", f"out={tmp_path / 'out'}", *words) == REFUSED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_says_how_many_codes_are_edited() -> None:
    assert f"{CODES} codes that are edited by text" in dict(options(EvaluateConfig))["n"].metadata["doc"]


def test_the_eight_texts_name_what_they_say() -> None:
    expected = {
        "a smiling person": "smile=yes", "a sad person": "mouth=sad", "a person wearing glasses":
        "glasses=glasses|sunglasses", "a person with red hair": "hair colour=red", "a bald person": "hair=bald",
        "a person with a beard": "facial hair=short beard|long beard", "a person wearing a hat": "hat=hat|winter hat",
        "a surprised person": "eyes=wide",
    }  # fmt: skip
    for text, named in expected.items():
        assert str(named_by(text, None, [], ATTRIBUTES)) == named
    assert named_by("a person from Mars", None, [], ATTRIBUTES) is None
    assert named_by("a smiling person", None, ["skin"], ATTRIBUTES).affects == ("mouth", "open mouth", "skin")
    assert named_by("a chapeau", "hat=turban", [], ATTRIBUTES).affects == ("hair", "long hair", "hair colour")
    with pytest.raises(GanvasError, match="there is no attribute"):
        named_by("a smile", "nose=long", [], ATTRIBUTES)


def test_the_best_strength_keeps_the_rest_first() -> None:
    table = {0.5: {"success": 0.4, "leakage_worst": 0.02}, 1.0: {"success": 0.9, "leakage_worst": 0.08},
             2.0: {"success": 1.0, "leakage_worst": 0.4}}  # fmt: skip
    assert best_strength(table) == 1.0
    assert best_strength({2.0: table[2.0], 3.0: {"success": 1.0, "leakage_worst": 0.5}}) == 2.0
    assert best_strength({0.5: {}, 1.5: {}, 0.9: {}}) == 0.9


def test_strengths_are_recommended_where_some_have_success_and_keep_the_rest() -> None:
    def table(*rows: tuple[float, float, float]) -> dict[float, dict[str, float]]:
        return {strength: {"success": success, "leakage_worst": leaked} for strength, success, leaked in rows}

    kept = table((0.25, 0.2, 0.0), (0.5, 0.45, 0.02), (1.0, 0.9, 0.08), (2.0, 1.0, 0.4))
    assert recommended_strengths(kept) == (0.5, 1.0)
    assert recommended_strengths(table((-0.5, 0.5, 0.0), (-1.0, 0.8, 0.05), (0.5, 0.5, 0.0))) == (-1.0, -0.5)
    assert recommended_strengths(table((0.5, 0.9, 0.2), (1.0, 1.0, 0.4))) is None
    assert recommended_strengths(table((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))) is None
    assert recommended_strengths({0.5: {"change": 0.1}, 1.0: {"change": 0.2}}) is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"success": 0.9, "shows": 0.0}, ["followed in 90%", "in more than 2%"]),
        ({"success": 0.1, "shows": 0.001}, ["not followed (10% of the images), because of the generator: 0.1%"]),
        ({"success": 0.1, "shows": 0.2}, ["for unknown reasons: too few images"]),
        ({"success": 0.1, "shows": 0.2, "tells": 0.6, "taken": 0.9}, ["because of the CLIP: it tells", "60%"]),
        ({"success": 0.1, "shows": 0.2, "tells": 0.95, "taken": 0.9}, ["because of the CLIP: it takes 90%"]),
        ({"success": 0.1, "shows": 0.2, "tells": 0.95, "taken": 0.1}, ["because of the edit: the CLIP takes 10%"]),
        ({}, ["not judged: no attribute"]),
    ],
)
def test_a_failure_has_a_reason(values: dict[str, float], said: list[str]) -> None:
    assert all(part in verdict(figures(values and {"leakage_worst": 0.02, **values})) for part in said)


def test_an_edit_that_changes_what_is_not_meant_fails_by_it() -> None:
    good = {"success": 0.97, "leakage_worst": 0.5, "leakage eyes": 0.2, "leakage hat": 0.5}
    edit = verdict(figures({**good, "floor eyes": 0.19, "floor hat": 0.02}))
    assert edit.startswith("leaks because of the edit: hat changes in 50% of the images, and in 2%")
    judge = verdict(figures({**good, "floor eyes": 0.0, "floor hat": 0.3}))
    assert judge.startswith("leaks because of the judge: hat changes in 50%")
    both = verdict(figures({**good, "floor hat": 0.0, "success": 0.3, "shows": 0.0}))
    assert "because of the generator" in both
    assert "because of the edit: hat" in both
    tenth = {"success": 0.97, "leakage_worst": 0.1, "leakage hat": 0.1, "floor hat": 0.0}
    assert verdict(figures(tenth)).startswith("followed")   # as the best strength is chosen
    assert best_strength({1.0: tenth, 0.5: tenth | {"success": 0.5}}) == 1.0


def figures(values: dict[str, float]) -> dict[str, Figure]:
    return {name: Figure(value, Protocol("codes", "", 2)) for name, value in values.items()}


def test_an_untrained_mapper_moves_codes_in_the_units_of_the_trained(tiny_generator: Path) -> None:
    generator = load_generator(tiny_generator)
    trained = MapperEdit.by(mapper_for(generator, "levels", Recipe()))
    codes = generator.sample(4, 0)
    assert torch.equal(trained.apply(codes, 1.0).tensors["ws"], codes.tensors["ws"])   # begins at zero
    drawn = untrained(trained)
    step = drawn.apply(codes, 1.0).tensors["ws"] - codes.tensors["ws"]
    assert (step.flatten(1).norm(dim=1) > 0).all()
    assert torch.equal(untrained(trained).apply(codes, 1.0).tensors["ws"], drawn.apply(codes, 1.0).tensors["ws"])
