"""``ganvas edit text=``: each method on a tiny generator with a tiny CLIP; what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editors.text_directions import RelevanceSettings, measure_relevance
from launch import cli
from launch.figures import read_figures
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.conditioned import save_conditioned
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.checkpoints.relevance import save_relevance
from networks.grids import save_png, to_uint8
from networks.latent_edit import LatentEdit
from networks.mapper import MapperEdit, Recipe, mapper_for
from tests.clips import tiny_clip

FAST = ("optimise.steps=3", "channels=9")
TEXT = "text=a person with red hair, smiling"


@pytest.fixture(autouse=True)
def alone(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    monkeypatch.setattr("launch.text_methods.load_clip", lambda spec, legacy=False: tiny_clip())


@pytest.fixture(scope="module")
def codes(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    latent = load_generator(tiny_generator).sample(3, seed=8)
    return save_latent(tmp_path_factory.mktemp("codes") / "latents.safetensors", latent, ("a", "b", "c"))


@pytest.fixture(scope="module")
def relevance(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    measured = measure_relevance(
        load_generator(tiny_generator), tiny_clip(), RelevanceSettings(images=2, samples=32, batch=2)
    )
    return save_relevance(tmp_path_factory.mktemp("relevance") / "relevance.safetensors", measured)


@pytest.fixture(scope="module")
def mapper(tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = load_generator(tiny_generator)
    network = mapper_for(generator, "levels", Recipe(head="lrelu", step_scale=0.3))
    edit = LatentEdit("w+", {}, generator.hash, name="smile", module=MapperEdit.by(network))
    entries = {"text": "a smiling person", "neutral": "a face", "clips": [tiny_clip().identity.to_json()]}
    return save_edit(tmp_path_factory.mktemp("mapper") / "mapper.safetensors", edit, entries)


def edit(out: Path, *words: str) -> int:
    return cli.main(["edit", f"out={out}", *words])


def test_a_direction_is_written_as_an_edit_and_applied_again(
    tiny_generator: Path, codes: Path, relevance: Path, tmp_path: Path, capsys
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    common = (f"generator={tiny_generator}", f"latents={codes}")
    assert edit(first, *common, TEXT, "channels=9", f"directions={relevance}", "strength=0.5") == cli.OK
    printed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert printed["text"] == "a person with red hair, smiling (direction)"
    assert float(printed["channels"]) == 9
    found = read_figures(first)
    assert {"fit", "fit_before", "along_text", "change", "channels", "beta", "seconds"} <= found.figures.keys()
    assert [row["name"] for row in found.each] == ["a", "b", "c"]
    for name in ("sheet.png", "strip.png", "images/a.png"):
        assert (first / name).is_file()
    manifest = read_manifest(first / "vector.safetensors")
    assert (manifest["text"], manifest["neutral"]) == ("a person with red hair, smiling", "a person")
    assert manifest["clips"] == [tiny_clip().identity.to_json()]
    assert manifest["step_scale"] == 1
    assert not {"metrics", "recommended_strengths"} & manifest.keys()   # of three images nothing can be recommended
    # Any edit's bundle goes where a mapper's goes.
    assert edit(again, *common, f"mapper={first / 'vector.safetensors'}", "strength=0.5") == cli.OK
    one, two = (load_latent(folder / "latents.safetensors")[0] for folder in (first, again))
    assert one.space == "s"
    assert all(torch.equal(t, two.tensors[path]) for path, t in one.tensors.items())


def test_codes_are_optimised_and_their_mean_step_is_kept(tiny_generator: Path, codes: Path, tmp_path: Path) -> None:
    words = (f"generator={tiny_generator}", f"latents={codes}", TEXT, "method=optimise", "optimise.steps=3")
    assert edit(tmp_path, *words, "optimise.levels=[coarse]", "neutral=a person") == cli.OK
    before, after = load_latent(codes)[0], load_latent(tmp_path / "latents.safetensors")[0]
    mean = load_edit(tmp_path / "vector.safetensors")
    step = (after.tensors["ws"] - before.tensors["ws"]).mean(0)
    torch.testing.assert_close(mean.delta["ws"], step, rtol=1e-3, atol=1e-5)
    assert not step[-1].any()
    figures = read_figures(tmp_path).figures
    assert figures["along_text"].value > 0


def test_an_image_is_inverted_and_edited_by_a_mapper(tiny_generator: Path, mapper: Path, tmp_path: Path) -> None:
    generator = load_generator(tiny_generator)
    save_png(to_uint8(generator.render(generator.sample(1, 8)))[0], tmp_path / "photo.png")
    out = tmp_path / "out"
    assert edit(out, f"generator={tiny_generator}", f"image={tmp_path / 'photo.png'}", f"mapper={mapper}") == cli.OK
    assert np.asarray(Image.open(out / "images" / "photo.png")).shape == (32, 32, 3)
    assert read_figures(out).figures["fit"].protocol.how == "method mapper, strength 1"
    assert not (out / "vector.safetensors").exists()   # it is the file that was given
    after = load_latent(out / "latents.safetensors")[0]
    assert after.space == "w+"


def test_a_mapper_that_takes_texts_makes_an_edit_of_one(
    tiny_generator: Path, codes: Path, tmp_path: Path, capsys
) -> None:
    generator, clip = load_generator(tiny_generator), tiny_clip()
    network = mapper_for(generator, "levels", Recipe(head="lrelu", condition=clip.dim, step_scale=0.3))
    mapper = save_conditioned(
        tmp_path / "conditioned.safetensors", network, generator.hash, clip.identity, "a face", ("{}",), {}
    )
    after = {}
    for text in ("a hat", "red hair"):
        out = tmp_path / text
        words = (f"latents={codes}", f"mapper={mapper}", f"generator={tiny_generator}")
        assert edit(out, *words, f"text={text}") == cli.OK
        after[text] = load_latent(out / "latents.safetensors")[0]
        kept = load_edit(out / "vector.safetensors")   # an edit of its own, which needs no CLIP
        assert read_manifest(out / "vector.safetensors")["step_scale"] == 0.3
        assert torch.equal(kept.apply(load_latent(codes)[0]).tensors["ws"], after[text].tensors["ws"])
    assert not torch.equal(*(latent.tensors["ws"] for latent in after.values()))
    assert edit(tmp_path / "x", *words) == cli.REFUSED
    assert "nothing says what images are to show" in capsys.readouterr().err


def test_what_is_to_stay_is_given_a_weight(tiny_generator: Path, codes: Path, tmp_path: Path, capsys) -> None:
    words = (f"generator={tiny_generator}", f"latents={codes}", TEXT, "method=optimise", "optimise.steps=4",
             "preserve.identity=0")  # fmt: skip
    for name, more in {"free": [], "held": ["preserve.perceptual=50"]}.items():
        assert edit(tmp_path / name, *words, *more) == cli.OK
    change = [read_figures(tmp_path / name).figures["change"].value for name in ("free", "held")]
    assert change[1] < change[0]
    assert edit(tmp_path / "x", *words, "preserve.region=[hair]") == cli.REFUSED
    assert "preserve.outside=0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text="], "nothing says what images are to show"),
        (["text=?!"], "says nothing"),
        ([f"text={'red ' * 99}"], "shorten it"),
        (["text=qzx"], "knows no word"),
        ([TEXT, "method=magic"], "must be one of mapper, optimise, direction"),
        ([TEXT, "method=mapper"], "method=mapper needs mapper=FILE"),
        ([TEXT, "method=optimise", "channels=3"], "channels= goes with method=direction"),
        ([TEXT, "beta=0.1", "channels=3"], "give one of beta="),
        ([TEXT, "beta=0.99"], "beta=0.99 leaves no channel"),
        ([TEXT, "segmentation=x"], "segmentation= does not go with text="),
        ([TEXT, "like=x"], "like= does not go with text="),
        ([TEXT, "only_places=true"], "only_places= does not go with text="),
        ([TEXT, "strength=[1,2]"], "must be one number"),
        ([TEXT, "neutral=a person with red hair, smiling"], "are the same to this CLIP"),
        ([TEXT, "alpha=0"], "alpha=0.0 must be a number that is not 0"),
        ([TEXT, "latents=null"], "give one of image= and latents="),
        ([TEXT, "neutral="], "neutral= says nothing"),
        ([TEXT, "neutral=a man| "], "says nothing"),
        ([TEXT, "optimise.steps=3"], "optimise.steps= goes with method=optimise, and method=direction"),
        ([TEXT, "method=optimise", "alpha=2"], "alpha= goes with method=direction, and method=optimise"),
        ([TEXT, "method=optimise", "strength=nan"], "strength=[nan] must be finite"),
        ([TEXT, "method=optimise", "strength=inf"], "strength=[inf] must be finite"),
        ([TEXT, "strength=1e39"], "strength=[1e+39] must be finite"),
        ([TEXT, "strength=3e38"], "the codes are no longer finite numbers at a strength of"),
        ([TEXT, "method=optimise", "optimise.steps=1", "strength=3e38"], "the codes are no longer finite numbers"),
        ([TEXT, "strength=nan"], "strength=[nan] must be finite"),
        ([TEXT, "strip=[0,nan]"], "strip=[0.0, nan] must be finite"),
        ([TEXT, "strip=[]"], "strip=[] shows nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(
    words: list[str], said: str, tiny_generator: Path, codes: Path, relevance: Path, tmp_path: Path, capsys
) -> None:
    given = {word.partition("=")[0]: word for word in
             [f"generator={tiny_generator}", f"latents={codes}", *words]}  # fmt: skip
    if "method" not in given:
        given["directions"] = f"directions={relevance}"
    assert edit(tmp_path / "out", *given.values()) == cli.REFUSED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_does_not_belong_together_is_one_sentence(
    tiny_generator: Path, codes: Path, relevance: Path, mapper: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    generator, latent = load_generator(tiny_generator), load_latent(codes)[0]
    other = save_edit(tmp_path / "other.safetensors", LatentEdit("w+", {"ws": torch.zeros(8, 8)}, "f" * 64))
    wide = save_edit(tmp_path / "wide.safetensors", LatentEdit("w+", {"ws": torch.zeros(8, 99)}, generator.hash))
    styled = save_latent(tmp_path / "styled.safetensors", generator.in_styles(latent))
    common = [f"generator={tiny_generator}", f"latents={codes}"]
    for words, said in (
        ([*common, f"mapper={other}", TEXT], "belongs to generator ffffffffffff"),
        ([*common, f"mapper={mapper}", "text=a hat"], "was fitted to 'a smiling person', not to 'a hat'"),
        ([*common, f"mapper={wide}", TEXT], "cannot be applied to these codes: this edit moves ws [8, 99]"),
        ([common[0], f"latents={styled}", f"mapper={mapper}"], "codes in s cannot be brought into w+"),
        ([common[1], TEXT], "text= needs generator=FILE"),
    ):
        assert edit(tmp_path / "out", *words) == cli.REFUSED
        assert said in capsys.readouterr().err
    monkeypatch.setattr("launch.text_methods.load_clip", lambda spec, legacy=False: tiny_clip(1))
    assert edit(tmp_path / "out", *common, TEXT, f"directions={relevance}") == cli.REFUSED
    assert "was measured with avatar:tiny-32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["vector=[x]", "generator=x", "latents=x"], ["layout=x", "generator=x", "move=1:0,0"],
     ["reference=x", "generator=x", "latents=x"], ["segmentation=x", "vector=[x]", "latents=x"]],
)  # fmt: skip
@pytest.mark.parametrize("number", ["strength=nan", "strip=[inf]", "strip=[]"])
def test_edits_of_every_kind_go_a_finite_way(words: list[str], number: str, tmp_path: Path, capsys) -> None:
    assert edit(tmp_path / "out", *words, number) == cli.REFUSED
    assert capsys.readouterr().err.startswith(f"ganvas: {number.partition('=')[0]}=")
    assert not (tmp_path / "out").exists()


def test_a_mapper_keeps_its_neutral_text_and_takes_nothing_that_it_does_not_read(
    tiny_generator: Path, codes: Path, mapper: Path, tmp_path: Path, capsys
) -> None:
    generator, clip = load_generator(tiny_generator), tiny_clip()
    network = mapper_for(generator, "levels", Recipe(head="lrelu", condition=clip.dim))
    conditioned = save_conditioned(
        tmp_path / "conditioned.safetensors", network, generator.hash, clip.identity, "a face", ("{}",), {}
    )
    common = [f"generator={tiny_generator}", f"latents={codes}", "text=a smiling person"]
    for file in (mapper, conditioned):
        for word, said in (
            ("neutral=a man", "begins at its own neutral text 'a face', not at 'a man'"),
            ("alpha=2", "alpha= goes with method=direction, and method=mapper"),
            ("preserve.identity=0", "preserve.identity= goes with method=optimise, and method=mapper"),
            ("neutral= ", "says nothing"),
        ):
            assert edit(tmp_path / "out", *common, f"mapper={file}", word) == cli.REFUSED
            assert said in capsys.readouterr().err
            assert not (tmp_path / "out").exists()
    assert edit(tmp_path / "out", *common, f"mapper={conditioned}", "neutral=a face") == cli.OK
    assert read_manifest(tmp_path / "out" / "vector.safetensors")["neutral"] == "a face"


def test_a_clip_that_a_mapper_was_not_fitted_to_is_said(
    tiny_generator: Path, codes: Path, mapper: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    words = (f"generator={tiny_generator}", f"latents={codes}", f"mapper={mapper}")
    assert edit(tmp_path / "own", *words) == cli.OK
    assert "was fitted to" not in capsys.readouterr().err
    monkeypatch.setattr("launch.text_methods.load_clip", lambda spec, legacy=False: tiny_clip(1))
    assert edit(tmp_path / "other", *words) == cli.OK
    said = next(line for line in capsys.readouterr().err.splitlines() if "was fitted to" in line)
    assert said.startswith("warning: ")
    assert said.index(str(tiny_clip().identity)) < said.index(str(tiny_clip(1).identity))
    assert read_figures(tmp_path / "other").figures["fit"].protocol.network == str(tiny_clip(1).identity)


def test_codes_that_cannot_be_are_one_sentence(tiny_generator: Path, codes: Path, tmp_path: Path, capsys) -> None:
    latent = load_latent(codes)[0].tensors["ws"]
    files = {"nan.pt": latent / 0, "wide.pt": torch.zeros(2, 8, 9), "empty.pt": torch.zeros(0, 8, 8)}
    for name, tensor in files.items():
        torch.save(tensor, tmp_path / name)
        words = (f"generator={tiny_generator}", f"latents={tmp_path / name}", TEXT, "method=optimise")
        assert edit(tmp_path / "out", *words) == cli.REFUSED
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert name in said
    torch.save(latent, tmp_path / "good.pt")   # as the original StyleCLIP keeps codes
    words = (f"generator={tiny_generator}", f"latents={tmp_path / 'good.pt'}", TEXT, "method=optimise")
    assert edit(tmp_path / "out", *words, "optimise.steps=1", "preserve.perceptual=0") == cli.OK
