"""``ganvas evaluate recipe=collage`` and ``recipe=reconstruction``: what is measured, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from editors import CollageEditor, load
from editors.invert import InversionSettings
from launch import cli, collage_trial
from launch.class_judge import ClassJudge
from launch.collage_pictures import Pictures, halves, matching, other_classes, project
from launch.collage_trial import Trial
from launch.compose import compose
from launch.evaluate_collage import judged
from launch.figures import Source, read_figures
from launch.sweep_plan import plan, put_in
from networks.attributes import AttributeClassifier, save_attributes
from networks.checkpoints.attributes import Attribute
from networks.checkpoints.generators import save_generator
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator
from tests.editors.test_collage_editor import conditional
from tests.launch.conftest import SIZE

STYLES = ("avataaars", "micah", "lorelei")
R = 16
DATA = ["data=styles", f"data.styles=[{','.join(STYLES)}]", f"data.resolution={R}"]
FAST = ["metrics_features=[]", "inversion.steps=2", "inversion.samples=12", "inversion.starts=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of three styles with its discriminator, and a judge of them and one more."""
    made = tmp_path_factory.mktemp("collages")
    owner = save_generator(made / "gan.safetensors", conditional(), {"label_names": STYLES})
    torch.manual_seed(1)
    discriminator = ProjectionDiscriminator(R, 3, [4, 4])
    save_generator(made / "gan_discriminator.safetensors", discriminator,
                   {"generator": {"hash": load(owner).generator.hash}})  # fmt: skip
    torch.manual_seed(2)
    values = ("personas", "lorelei", "micah", "avataaars", "open-peeps", "toon-head")
    judge = AttributeClassifier([Attribute("class", values)], R, width=8)
    save_attributes(made / "judge.safetensors", judge, {"metrics": {"by_attribute": {"class": {"accuracy": 0.75}}}})
    return made


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


def evaluate(folder: Path, *words: str) -> int:
    given = {word.partition("=")[0]: word for word in [
        "recipe=collage", f"generator={folder / 'gan.safetensors'}", f"judge={folder / 'judge.safetensors'}", "n=9",
        *DATA, *FAST, *words]}  # fmt: skip
    return cli.main(["evaluate", *given.values()])


def measured(folder: Path, out: Path, *words: str) -> dict[str, float]:
    assert evaluate(folder, *words, f"out={out}") == cli.OK
    return {name: figure.value for name, figure in read_figures(out).figures.items()}


def test_a_class_in_a_region_is_measured(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = measured(folder, tmp_path / "first", "recipe.layers=[block3.b2]")
    assert set(first) == {"own_rate", "target_rate", "top1_error", "top5_error", "inside", "outside", "region",
                          "seam_ratio", "outside_perceptual", "seconds_each"}  # fmt: skip
    assert first["top1_error"] == pytest.approx(1 - first["target_rate"])
    assert first["top5_error"] <= first["top1_error"]
    assert first["inside"] > 2 * first["outside"] > 0       # a late layer reaches 2 pixels
    figure = read_figures(tmp_path / "first").figures["target_rate"]
    assert figure.protocol.how == "classes at strength 1 in a disc of 0.7 widths; layers block3.b2"
    assert figure.protocol.network.endswith(", held-out accuracy 0.7500")
    assert (figure.protocol.data, figure.protocol.split, figure.protocol.images) == ("samples", "seed 0", 9)
    assert f"sheet: {tmp_path / 'first' / 'images' / 'edits.png'}" in capsys.readouterr().out
    none = measured(folder, tmp_path / "none", "strength=0")
    assert none["inside"] == none["outside"] == none["outside_perceptual"] == 0.0
    assert none["seam_ratio"] == 1.0
    every = measured(folder, tmp_path / "every", "recipe.region=whole")
    assert not {"outside", "seam_ratio", "outside_perceptual"} & every.keys()
    assert every["region"] == 1.0


def test_each_method_changes_what_it_says(folder: Path, tmp_path: Path) -> None:
    found = {method: measured(folder, tmp_path / method, f"method={method}", *words) for method, words in {
        "features": ["recipe.layers=[block3]"], "lerp": [], "pixels": [],
    }.items()}  # fmt: skip
    assert found["features"]["outside"] > 0                  # a convolution reaches beyond
    assert found["lerp"]["outside"] == found["pixels"]["outside"] == 0.0
    assert found["pixels"]["from_other"] == pytest.approx(0.0, abs=1e-6)
    assert 0 < found["features"]["from_other"] < found["features"]["inside"]
    half = measured(folder, tmp_path / "half", "method=pixels", "strength=0.5")
    assert half["inside"] == pytest.approx(found["pixels"]["inside"] / 2, rel=1e-5)


@pytest.mark.parametrize("method", ["classes", "features", "lerp", "pixels"])
def test_held_out_images_are_projected_and_pasted_back(folder: Path, tmp_path: Path, method: str) -> None:
    words = ["recipe.of=images", "recipe.paste=poisson", f"method={method}", "n=6", "metrics_features=[stlpips-alex]"]
    found = measured(folder, tmp_path, *words)
    assert found["outside"] == pytest.approx(0.0, abs=1e-6)
    assert found["outside_perceptual"] == pytest.approx(0.0, abs=1e-6)
    assert found["inside"] > 0
    assert ("psnr" in found) == (method != "pixels")
    assert "kid_stlpips_alex_x1000" in found
    figures = read_figures(tmp_path).figures
    assert figures["target_rate"].protocol.data == f"held-out rendered avatars of 3 styles at {R}x{R}"
    assert "pasted by poisson" in figures["target_rate"].protocol.how
    against = figures["kid_stlpips_alex_x1000"].protocol.how
    assert against.endswith("against 6 held-out images of the classes; subsets of 3")
    assert Image.open(tmp_path / "images" / "edits.png").width > 4 * R


def test_pixels_are_pasted_by_their_own_gradients(folder: Path) -> None:
    """Not by those of the mixture, whose seam is one: of a picture that differs in its level alone nothing comes."""
    images = torch.linspace(-0.5, 0.2, R).expand(2, 3, R, R)
    given, others = (Pictures(pictures, torch.tensor([0, 1]), None) for pictures in (images, images + 0.3))
    mask = collage_trial.region_mask("disc", 0.7, R)
    editor = load(folder / "gan.safetensors")
    trial = Trial(editor, given, torch.tensor([1, 0]), others, mask, Source("pictures"), {}, None)
    cfg = SimpleNamespace(method="pixels", strength=1.0, recipe=SimpleNamespace(feather=0.0))
    changed = collage_trial.run(cfg, trial)
    torch.testing.assert_close(changed.inside, torch.full([2], 0.15))
    torch.testing.assert_close(collage_trial.pasted(trial, changed, "poisson"), images, rtol=0, atol=2 / 127.5)


def test_images_are_reconstructed_as_each_class(folder: Path, tmp_path: Path) -> None:
    words = ["recipe=reconstruction", "n=4", "inversion.features=1", "inversion.feature_layers=[all]"]
    found = measured(folder, tmp_path, *words)
    assert set(found) == {"psnr_own", "psnr_others", "own_best", "perceptual_own", "perceptual_others", "seen_given",
                          "seen_own", "seen_others"}  # fmt: skip
    sheet = np.asarray(Image.open(tmp_path / "images" / "classes.png"))
    assert (sheet == (220, 40, 40)).all(2).any()
    said = read_figures(tmp_path).figures["psnr_own"].protocol.how
    assert said == "projected in 2 steps by pixels 1, critic 0.1, discriminator (all) 1"


def test_projections_come_back_in_order(folder: Path) -> None:
    editor = load(folder / "gan.safetensors")
    generator: ConditionalGenerator = editor.generator
    labels = torch.tensor([2, 0, 1, 0, 2])
    latent = generator.sample(5, seed=3, label=torch.eye(3)[labels])
    settings = InversionSettings(steps=1, samples=8, starts=1)
    found, psnr, distance = project(editor, editor.render(latent), labels, settings)
    assert torch.equal(found.label, torch.eye(3)[labels])
    drawn = editor.render(found)
    mse = (drawn - editor.render(latent)).square().flatten(1).mean(1)
    torch.testing.assert_close(psnr, 10 * (4 / mse).log10(), rtol=1e-4, atol=1e-4)
    assert len(distance) == 5


def test_pictures_are_shared_out_by_class() -> None:
    labels = torch.tensor([0, 0, 1, 0, 1, 0, 2])
    pictures = Pictures(torch.arange(7.0).view(7, 1, 1, 1), labels, None)
    one, other = halves(pictures)
    assert one.images.flatten().tolist() == [0, 2, 3, 6]
    assert other.images.flatten().tolist() == [1, 4, 5]
    goal = other_classes(labels, 3)
    assert (goal != labels).all()
    assert goal.tolist() == [1, 2, 2, 1, 0, 2, 0]
    assert matching(pictures, torch.tensor([0, 0, 2, 2]), STYLES).images.flatten().tolist() == [0, 1, 6, 6]


def test_the_judge_counts_by_names(folder: Path) -> None:
    judge = ClassJudge.load([str(folder / "judge.safetensors")], STYLES)
    (head,) = judge.network.members[0].heads
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        # lorelei 1, micah 5, avataaars 3
        head.bias.copy_(torch.tensor([0.0, 1.0, 5.0, 3.0, 2.0, 4.0]))
    images = torch.zeros(3, 3, R, R)
    assert judge.likely(images, torch.tensor([0, 1, 2])).tolist() == [False, True, False]
    assert judge.likely(images, torch.tensor([0, 1, 2]), 3).tolist() == [True, True, False]
    assert judge.likely(images, torch.tensor([0, 1, 2]), 99).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generator=null"], "recipe=collage needs generator=FILE"),
        (["generator={stylegan}"], "has no classes: recipe=collage is for class-conditional GANs"),
        (["generator=zoo/styles_of_nothing.safetensors"], "there is no file zoo/styles_of_nothing.safetensors"),
        (["judge=zoo/attributes_avatars64.safetensors"], "does not tell avataaars, micah, lorelei apart"),
        (["method=vector"], "method=vector is not known: choose of classes, features, lerp, pixels"),
        (["recipe.of=dreams"], "recipe.of=dreams is not known"),
        (["recipe.region=nose"], "recipe.region=nose is not known: choose of disc, left, whole"),
        (["recipe.paste=glue"], "recipe.paste=glue is not known"),
        (["recipe.region=whole", "recipe.paste=poisson"], "leaves nothing of the picture to paste into"),
        (["recipe.size=0"], "recipe.size=0.0 must be above 0"),
        (["strength=2"], "strength=2.0 from 0 to 1"),
        (["recipe.layers=[block9]"], "there is no layer block9"),
        (["n=1"], "n=1 must be at least 2"),
        (["recipe.of=images", "n=2", "method=pixels"], "no held-out image shows"),
        (["recipe.of=images", "data=avatars"], "images of the generator's classes are needed"),
        (["recipe.of=images", "data.styles=[micah,avataaars,lorelei]"], "and the generator's classes are avataaars"),
        (["recipe.of=images", "data.resolution=32"], "the images are 3x32x32"),
        (["recipe=reconstruction", "inversion.rate=0"], "rate must be greater than 0"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], says: str, folder: Path, tiny_generator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SIZE != R
    given = [word.format(stylegan=tiny_generator) for word in words]
    if "data=avatars" in given:
        names = {"generator": "gan", "judge": "judge"}
        files = [f"{key}={folder / name}.safetensors" for key, name in names.items()]
        assert cli.main(["evaluate", "recipe=collage", *files, *FAST, *given]) == cli.REFUSED
    else:
        assert evaluate(folder, *given) == cli.REFUSED
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(said) == 1
    assert says in said[0]


# What the slow ones do on top of the others is data.
SLOW = ("blending", "gallery")
PAPERS = ["layers", "classes", "real", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """What commands that jobs run first have made, by their words."""
    return {(): tmp_path_factory.mktemp("before")}


@pytest.mark.parametrize("name", PAPERS)
def test_the_quick_size_of_each_paper_measures_its_table(
    name: str, before: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    found = plan(compose("sweep", [f"experiment=paper/collage_{name}", "seeds=1"]))
    seen: set[str] = set()
    for job in found.jobs:
        for command in map(tuple, job.before.values()):
            if command not in before:
                before[command] = before[()] / str(len(before))
                assert cli.main([*command, f"out={before[command]}"]) == cli.OK
        words = put_in(job.words, {key: str(before[tuple(command)]) for key, command in job.before.items()})
        assert cli.main(["evaluate", *words, f"out={tmp_path / job.name}"]) == cli.OK
        seen |= read_figures(tmp_path / job.name).figures.keys()
        assert list((tmp_path / job.name / "images").glob("*.png"))
    assert {name for name in found.figures if not name.startswith("kid_")} <= seen


def flat_colors() -> ConditionalGenerator:
    """Each class is one colour everywhere, made by the last normalisation that knows classes, whatever z is."""
    generator = ConditionalGenerator(R, 3, [3, 3, 3], z_dim=4)
    for name, parameter in generator.named_parameters():
        if name.startswith("synthesis") and "norm" not in name:
            nn.init.zeros_(parameter)
    last, block = generator.synthesis.last, generator.synthesis.block3
    for convolution in (last, block.c2):
        convolution.weight.data[:, :, 1, 1] = torch.eye(3)
    last.bias.data.fill_(-1.0)
    block.b2.betas.data.copy_(2 * torch.eye(3))
    return generator.eval()


@pytest.mark.parametrize(("words", "takes"), [
    ([], True), (["recipe.layers=[block3.b2]"], True), (["recipe.layers=[all but the first]"], True),
    (["recipe.layers=[first]"], False), (["strength=0.3"], False), (["method=lerp"], True), (["method=pixels"], True),
    (["method=features", "recipe.layers=[block3]"], True), (["method=features", "recipe.layers=[l1]"], False),
])  # fmt: skip
def test_a_generator_of_flat_colours_gives_ideal_figures(words: list[str], takes: bool) -> None:
    editor = CollageEditor(flat_colors(), None)
    middle = SimpleNamespace(probabilities=lambda images: {"class": images[:, :, R // 2, R // 2].softmax(1)})
    judge = ClassJudge(middle, "class", torch.arange(3), "the middle")
    cfg = compose("evaluate", ["recipe=collage", "metrics_features=[]", *words])
    trial = collage_trial.trial_of(cfg, editor, 6)
    changed = collage_trial.run(cfg, trial)
    rates = judged(trial, judge, changed.image)
    assert rates["own_rate"] == 1.0
    assert rates["target_rate"] == 1 - rates["top1_error"] == float(takes)
    assert rates["top5_error"] == 0.0
    assert changed.outside.max() == 0.0
    assert (changed.inside > 0.3).all() == takes
