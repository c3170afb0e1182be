"""``ganvas train task=mapper``: edits by texts as bundles, figures, a sheet, resumption, other sources, bad input."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from launch import cli
from launch.figures import read_figures
from launch.mapper_choice import STRENGTHS, _kept
from launch.mapper_scores import Heldout, Scores, caption
from launch.record import read_metrics
from launch.text_scores import TextScores
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.conditioned import load_conditioned, text_edit
from networks.checkpoints.edits import load_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent
from networks.clip import load_clip
from networks.clip.avatar import AvatarClip, save_avatar_clip
from networks.clip.minilm import MiniLM
from networks.face_identity import FaceIdentity
from networks.mapper import MixtureMapper
from networks.protocol import Generator
from tests.launch.conftest import AvatarRun, attributes_bundle, tiny_judges

TINY = [
    "n=3", "task.batch_size=4", "task.training.total_images=16", "task.sources.count=8", "task.log_every=8",
    "task.checkpoint_every=8", "trainer.threads=1", "wandb=disabled", "task.clip.templates=false",
    "task.inversion.steps=1", "task.inversion.samples=8", "task.network.depth=2", "task.training.lr=0.01",
    "task.preserve.perceptual=0", "task.clip.neutral=a person", "task.choose.judge=[]",
    "task/statements=none", "task.training.contrast=0", "task.training.unsaid=0",
]  # fmt: skip


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that name a tiny random CLIP and identity network."""
    return tiny_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture
def train(tiny_generator: Path, frozen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``train(*words) -> exit status`` of a run into ``tmp_path / "run"``."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))

    def run(*words: str, experiment: str = "mapper/avatars") -> int:
        chosen = dict(word.split("=", 1) for word in [
            f"generator={tiny_generator}", f"out={tmp_path / 'run'}", *TINY, *frozen, *words,
        ])  # fmt: skip
        return cli.main(["train", f"experiment={experiment}", *(f"{key}={value}" for key, value in chosen.items())])

    return run


def generator_of(path: Path) -> Generator:
    return load_generator(path)


def test_a_text_becomes_an_edit(train, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train("text=a person, wearing [red] glasses") == cli.OK
    run, printed = tmp_path / "run", capsys.readouterr().out
    bundle = run / "export" / "a_person_wearing_red_glasses.safetensors"
    assert printed.endswith(f"bundle: {bundle}\n")
    edit, manifest, G = load_edit(bundle), read_manifest(bundle), generator_of(tiny_generator)
    assert (edit.name, edit.generator_hash) == ("a person, wearing [red] glasses", G.hash)
    heldout, _ = load_latent(run / "heldout.safetensors")
    after = edit.apply(heldout, 1.0)
    assert not torch.equal(G.render(after), G.render(heldout))
    assert manifest["clips"][0]["provider"] == "avatar"
    assert manifest["clips"][0]["preprocessing"]["legacy"] is False
    low, high = manifest["recommended_strengths"]
    assert 0.25 <= low <= high <= 2.0
    assert set(manifest["metrics"]["by_strength"]) == {"0.25", "0.5", "0.75", "1", "1.5", "2"}
    assert "CLIP that it was fitted to" in manifest["recommended_by"]   # for want of a judge
    assert f"red] glasses: by {manifest['recommended_by']}" in (run / "report.md").read_text()
    assert (manifest["text"], manifest["neutral"]) == (edit.name, "a person")
    assert manifest["trained_on"]["codes"] == "sampled codes in w, truncation 0.7 (seed 0)"
    assert "(seed 1000003)" in manifest["protocol"]   # of what is held out
    assert manifest["trained_on"]["images_seen"] == 16
    figures = read_figures(run).figures
    assert set(figures) == {"clip", "directional", "identity"}
    assert figures["clip"].protocol.images == 3
    split = json.loads((run / "split.json").read_text())
    assert (len(split["train"]), split["heldout"]) == (8, [8, 9, 10])
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == [8, 16]
    assert sorted(path.name for path in (run / "images").iterdir()) == ["heldout-00000008.png", "heldout.png"]


def test_a_bank_has_a_bundle_for_each_text(train, tmp_path: Path) -> None:
    words = ["texts=[a bald person,a sad person]", "task.preserve.outside=0", "task.network.kind=levels",
             "task.network.levels=[coarse,medium]", "task.training.contrast=1", "task.training.unsaid=1",
             "task.clip.statements=[[mouth,a sad mouth,a smile],[hair,short hair,bald|no hair,long hair]]",
             "task.clip.text_about=[[a bald person,hair]]"]  # fmt: skip
    assert train(*words, experiment="mapper/bank") == cli.OK
    names = {path.stem for path in (tmp_path / "run" / "export").iterdir()}
    assert names == {"a_bald_person", "a_sad_person"}
    bundles = {name: tmp_path / "run" / "export" / f"{name}.safetensors" for name in names}
    for path in bundles.values():
        assert set(read_manifest(path)["speaks_of"]) <= {"mouth", "hair"} != set()
    assert "speak of" in (tmp_path / "run" / "report.md").read_text()
    edits = {name: load_edit(path) for name, path in bundles.items()}
    levels = {name: [group.name for group in edit.module.stages[0][0].mapper.groups] for name, edit in edits.items()}
    assert levels == {"a_bald_person": ["coarse", "medium"], "a_sad_person": ["coarse", "medium"]}
    figures = read_figures(tmp_path / "run").figures
    assert {"clip a bald person", "directional a sad person", "diversity"} <= figures.keys()
    mean = (figures["clip a bald person"].value + figures["clip a sad person"].value) / 2
    assert figures["clip"].value == pytest.approx(mean)


def test_a_stopped_run_goes_on_to_the_same_bundle(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    assert train("text=a bald person") == cli.OK
    whole = load_edit(run / "export" / "a_bald_person.safetensors").module.tensors()
    run.rename(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Heldout, "sheet", stop)
        assert train("text=a bald person") == cli.INTERRUPTED
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["clock"] == 8
    assert train("text=a bald person") == cli.OK
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == [8, 16]
    resumed = load_edit(run / "export" / "a_bald_person.safetensors").module.tensors()
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_the_mapper_that_an_evaluation_finds_best_is_kept(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a made-up evaluation that likes the mapper of 8 images at 1.25 most; a stopped run chooses the same."""
    def changes(scores: TextScores, after: torch.Tensor) -> dict[str, float]:
        look, strength = divmod(looks[scores.named.name], len(STRENGTHS))
        looks[scores.named.name] += 1
        most = (0.5 if look else 0.75) if scores.named.name == "hair" else 0.25
        return {"success": most * min(strength + 1, 4) / 4, "leakage_worst": 0.2 if strength > 3 else 0.0, "leakage": 1}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["texts=[a bald person,a sad person,a person from Mars]", "task.preserve.outside=0",
             f"task.choose.judge=[{attributes_bundle(tmp_path)}]", "task.choose.codes=5",
             "task.clip.text_about=[]"]  # fmt: skip
    monkeypatch.setattr(TextScores, "changes", changes)
    looks, run = Counter(), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Heldout, "sheet", stop)
        assert train(*words, experiment="mapper/bank") == cli.INTERRUPTED
    halfway = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert train(*words, experiment="mapper/bank") == cli.OK
    figures = {name: figure.value for name, figure in read_figures(run).figures.items()}
    assert figures["chosen images_seen a bald person"] == 8
    assert figures["chosen success a bald person"] == 0.75
    assert figures["chosen images_seen a sad person"] == 8   # no later one was better
    assert "chosen images_seen a person from Mars" not in figures   # it names no attribute
    manifests = [read_manifest(path) for path in sorted((run / "export").iterdir())]
    assert [manifest.get("chosen", {}).get("images_seen") for manifest in manifests] == [8, None, 8]
    bald, martian, _ = manifests
    assert bald["recommended_strengths"] == [0.75, 1.25]   # from half of the success to all of it, before others change
    assert "5 sampled validation codes, truncation 0.7 (seed 1000004), judge " in bald["recommended_by"]
    assert bald["chosen"]["by_strength"]["0.75"] == {"success": 0.375, "leakage_worst": 0.0}   # out of chosen.pt
    assert bald["chosen"]["protocol"] == str(read_figures(run).figures["chosen success a bald person"].protocol)
    assert "CLIP that it was fitted to" in martian["recommended_by"]
    report = (run / "report.md").read_text()
    assert f"- of a bald person, a sad person: by {bald['recommended_by']}." in report
    assert f"- of a person from Mars: by {martian['recommended_by']}." in report
    assert "| a bald person | 19 / 0 | 38 / 0 | 56 / 0 | 75 / 0 | 75 / 20 |" in report
    assert re.search(r"^\| a bald person \| .* \| 0.75 to 1.25 \|$", report, re.MULTILINE)
    kept = load_edit(run / "export" / "a_bald_person.safetensors").module.stages[0][0].mapper.state_dict()
    assert all(torch.equal(x, halfway[f"average.0.{name}"]) for name, x in kept.items())
    last = load_edit(run / "export" / "a_person_from_Mars.safetensors".lower()).module.stages[0][0].mapper.state_dict()
    assert not all(torch.equal(x, halfway[f"average.2.{name}"]) for name, x in last.items())
    file = run / "checkpoints" / "chosen.pt"
    older = torch.load(file, weights_only=True)
    older["best"][0]["figures"] = older["best"][0].pop("tables")   # before it held what was found at each strength
    for damage in (lambda: torch.save(older, file), lambda: file.write_bytes(b"half")):
        damage()
        with pytest.raises(GanvasError, match=r"chosen\.pt is damaged, or of an earlier version: remove it"):
            _kept(file)


def test_a_conditioned_mapper_takes_other_texts(train, frozen: list[str], tiny_generator: Path, tmp_path: Path) -> None:
    words = ["task.training.pretrained=8", "task.network.hidden=0", "texts=[a bald person,a sad person]",
             "task.unseen=[a person with blond hair]", "task/texts=none"]  # fmt: skip
    assert train(*words, experiment="mapper/conditioned") == cli.OK
    bundle = tmp_path / "run" / "export" / "conditioned.safetensors"
    assert "clip a person with blond hair" in read_figures(tmp_path / "run").figures
    mapper, manifest = load_conditioned(bundle)
    assert mapper.recipe.condition == 16
    assert isinstance(mapper, MixtureMapper)
    assert len(mapper.experts) == 2
    assert manifest["texts"] == ["a bald person", "a sad person"]
    assert set(manifest["metrics"]) == {"a bald person", "a sad person", "a person with blond hair"}
    clip = load_clip(frozen[0].partition("[")[2].rstrip("]"))
    G = generator_of(tiny_generator)
    edits = [text_edit(bundle, text, clip) for text in ("a surprised person", "a person wearing a hat")]
    codes = G.in_styles(G.sample(2, seed=0))
    after = [torch.cat(list(edit.apply(codes).tensors.values()), dim=1) for edit in edits]
    assert not torch.allclose(*after)
    torch.manual_seed(1)
    save_avatar_clip(tmp_path / "other.safetensors", AvatarClip(32, width=4, dim=16, hidden=8), MiniLM().hash, [], {})
    with pytest.raises(GanvasError, match="was trained with avatar:dense4-32"):
        text_edit(bundle, "a hat", load_clip(str(tmp_path / "other.safetensors")))


def test_a_mapper_that_learned_no_text_says_so(train, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["texts=[a bald person,a sad person]", "task.unseen=[a hat]", "task/texts=none"]
    length = ["task.training.total_images=8", "task.training.pretrained=8"]
    assert train(*words, *length, experiment="mapper/conditioned") == cli.OK
    assert "no text was learned" in capsys.readouterr().err
    mapper, manifest = load_conditioned(tmp_path / "run" / "export" / "conditioned.safetensors")
    assert manifest["chosen"] == {}
    assert not any(network.head.weight.any() for expert in mapper.experts for network in expert.networks.values())


@pytest.mark.parametrize(
    ("similarities", "recommended"),
    [((0.25, 0.32, 0.30), (1.0, 1.0)), ((0.3, 0.32, 0.35), (0.5, 1.5)), ((0.1, 0.1, 0.1), (0.5, 0.5))],
)
def test_recommended_strengths_have_half_to_all_of_the_gain(
    similarities: tuple[float, ...], recommended: tuple[float, float]
) -> None:
    by_strength = {s: {"clip": x} for s, x in zip((0.5, 1.0, 1.5), similarities, strict=True)}
    assert Scores(0.2, by_strength).recommended.strengths == recommended


def test_captions_fit_their_columns() -> None:
    assert caption("a smiling person") == "a smiling person"
    assert caption("a person wearing glasses") == "wearing glasses"
    assert caption("antidisestablishmentarianism") == "antidisestablish"


@pytest.mark.parametrize("kind", ["styles", "single"])
def test_other_mappers_are_a_word(kind: str, train, tmp_path: Path) -> None:
    assert train("text=a bald person", f"task.network.kind={kind}") == cli.OK
    edit = load_edit(tmp_path / "run" / "export" / "a_bald_person.safetensors")
    assert edit.space == {"styles": "s", "single": "w+"}[kind]
    heldout, _ = load_latent(tmp_path / "run" / "heldout.safetensors")
    assert edit.apply(heldout, -1.0).space == edit.space


def test_the_originals_preset_goes_out_as_its_file(
    train, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["task=mapper_styleclip_legacy", "text=a mohawk", "task.network.depth=4", "task.training.lr=0.5"]
    assert train(*words) == cli.OK
    bundle = tmp_path / "run" / "export" / "a_mohawk.safetensors"
    assert read_manifest(bundle)["clips"][0]["preprocessing"]["legacy"] is True
    theirs, again = tmp_path / "mohawk.pt", tmp_path / "again.safetensors"
    assert cli.main(["convert", f"source={bundle}", f"out={theirs}"]) == cli.OK
    assert torch.load(theirs, weights_only=True)["opts"]["description"] == "a mohawk"
    capsys.readouterr()
    assert cli.main(["convert", f"source={theirs}", f"out={again}", f"generator={tiny_generator}"]) == cli.OK
    assert capsys.readouterr().out == f"text: a mohawk\nlevels: coarse, medium, fine\nwritten: {again}\n"
    latent = generator_of(tiny_generator).sample(2, seed=0)
    one, other = (load_edit(path).apply(latent).tensors["ws"] for path in (bundle, again))
    assert torch.equal(one, other)
    for words, says in {
        (f"source={theirs}", f"out={tmp_path / 'm.pth'}"): "or in .pt, StyleCLIP's format, for a mapper",
        (f"source={theirs}", f"out={again}"): "is already there",
        (f"source={theirs}", f"out={tmp_path / 'm.safetensors'}", f"generator={tmp_path / 'no'}"): "there is no file",
        (f"source={theirs}", f"out={tmp_path / 'm.safetensors'}"): "does not say how many layers its generator has",
        (f"source={tiny_generator}", f"out={tmp_path / 'm.safetensors'}", "network=M"): "cannot be read as a PyTorch",
    }.items():
        assert cli.main(["convert", *words]) == cli.REFUSED
        assert says in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npz", "pt", "safetensors", "w.npz"])
def test_codes_out_of_a_file(suffix: str, train, tiny_generator: Path, tmp_path: Path) -> None:
    G = generator_of(tiny_generator)
    ws = G.sample(12, seed=3).tensors["ws"]
    path = tmp_path / f"codes.{suffix}"
    if suffix == "pt":
        torch.save(ws, path)
    elif suffix == "safetensors":
        assert cli.main(["sample", f"generator={tiny_generator}", "n=12", "seed=3", f"out={tmp_path / 's'}"]) == cli.OK
        (tmp_path / "s" / "latents.safetensors").rename(path)
    else:
        np.savez(path, w=ws[:, 0].numpy() if suffix.startswith("w") else ws.numpy())
    assert train("text=a bald person", f"latents={path}", "task.network.kind=levels") == cli.OK
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert sorted(split["train"] + split["heldout"]) == list(range(12))
    heldout, _ = load_latent(tmp_path / "run" / "heldout.safetensors")
    torch.testing.assert_close(heldout.tensors["ws"], ws[split["heldout"]])


def test_codes_of_images(train, folder: Path, tmp_path: Path) -> None:
    assert train("text=a bald person", f"images={folder / 'images'}", "n=2", "task.batch_size=2") == cli.OK
    manifest = read_manifest(tmp_path / "run" / "export" / "a_bald_person.safetensors")
    assert f"images of {folder / 'images'} (held out at random, seed 0)" in manifest["protocol"]
    assert manifest["trained_on"]["codes"] == f"images of {folder / 'images'} (but those held out at random, seed 0)"


def test_only_a_region_changes(train, avatar_run: AvatarRun, tmp_path: Path) -> None:
    words = ["text=red hair", "task.preserve.outside=10", f"task.preserve.segmentation={avatar_run.bundle}",
             "task.preserve.region=[hair]"]  # fmt: skip
    assert train(*words) == cli.OK
    bundle = tmp_path / "run" / "export" / "red_hair.safetensors"
    assert load_edit(bundle).region == ("hair",)
    assert "outside" in read_manifest(bundle)["metrics"]
    out = tmp_path / "edited"
    assert cli.main(["edit", f"segmentation={avatar_run.bundle}", f"latents={tmp_path / 'run' / 'heldout.safetensors'}",
                     f"vector={bundle}", "strength=-0.5", f"out={out}"]) == cli.OK  # fmt: skip
    assert len(list((out / "images").iterdir())) == 3


def test_each_text_may_have_its_region(train, avatar_run: AvatarRun, tmp_path: Path) -> None:
    words = ["texts=[red hair,a hat]", "task.preserve.outside=10", "task.preserve.region=[hair]",
             "task.preserve.regions=[[a hat,hat,hair]]",
             f"task.preserve.segmentation={avatar_run.bundle}", "trainer.precision=bf16-mixed"]  # fmt: skip
    assert train(*words) == cli.OK
    export = tmp_path / "run" / "export"
    assert load_edit(export / "red_hair.safetensors").region == ("hair",)
    assert load_edit(export / "a_hat.safetensors").region == ("hat", "hair")


def test_a_network_of_faces_keeps_the_person(train, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(FaceIdentity((16, 32, 48, 64), (1, 1, 1, 1), 8).state_dict(), tmp_path / "model_ir_se50.pth")
    assert train("text=a bald person", f"task.preserve.identity_network={tmp_path / 'model_ir_se50.pth'}") == cli.OK
    assert "identity" in read_figures(tmp_path / "run").figures
    missing = ["task.preserve.identity_network=none.pth", f"out={tmp_path / 'no'}"]
    assert train("text=a bald person", *missing) == cli.REFUSED
    assert "give model_ir_se50.pth of InsightFace_Pytorch" in capsys.readouterr().err


def test_large_sources_lie_in_the_cache_and_are_found_again(train, tmp_path: Path) -> None:
    assert train("text=a bald person", "task.sources.memory=0", "task.preserve.perceptual=0.1") == cli.OK
    (kept,) = (tmp_path / "cache" / "sources").iterdir()
    stamps = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert {"image.npy", "clip.0.npy", "identity.vector.npy", "perceptual.0.npy"} <= stamps.keys()
    first = load_edit(tmp_path / "run" / "export" / "a_bald_person.safetensors").module.tensors()
    (tmp_path / "run").rename(tmp_path / "first")
    assert train("text=a bald person", "task.sources.memory=0", "task.preserve.perceptual=0.1") == cli.OK
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == stamps
    again = load_edit(tmp_path / "run" / "export" / "a_bald_person.safetensors").module.tensors()
    assert all(torch.equal(again[name], value) for name, value in first.items())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generator="], "a mapper needs generator=FILE"),
        (["text= "], "the text ' ' says nothing"),
        (["text=" + "very " * 300 + "happy"], r"has \d+ tokens"),
        (["text=null", "texts=[]"], "a mapper needs a text"),
        (["texts=[A hat,a hat]"], "two of the texts would be files of one name, a_hat"),
        (["task.clip.models=[none.safetensors]"], "there is no file none.safetensors"),
        (["task.clip.models=[]"], "a mapper needs a CLIP: give task.clip.models=[open_clip:MODEL:FILE]"),
        (["task.clip.weights=[1,2]"], "must be a number above 0 for each of the 1 models"),
        (["task.network.kind=deep"], "there is no mapper `deep`"),
        (["task.network.levels=[hair]"], r"must be some of coarse, medium, fine"),
        (["task.network.norm=rows"], "task.network: norm is features or layers"),
        (["task.training.optimizer=sgd"], "not by sgd with cosine"),
        (["task.training.pretrained=8"], "set task.conditioned=true"),
        (["task.conditioned=true"], "task.training.pretrained=0 must be at least"),
        (["task.conditioned=true", "task.training.pretrained=10000000"], "is part of task.training.total_images="),
        (["task.unseen=[a hat]"], "set task.conditioned=true"),
        (["task.training.unsaid=1"], "task.training.unsaid compares with what else can be said: give"),
        (["task.clip.statements=[[hair,a hat]]"], r"task.clip.statements has \[hair,a hat\]: give a group"),
        (["task.clip.statements=[[hair,a,b],[hair,c,d]]"], "has two groups of one name"),
        (["task.clip.statements=[[hair,a hat,'!']]"], "the text '!' says nothing"),
        (["task.clip.text_about=[[a hat,hair]]"], "has hair for 'a hat': give groups of task.clip.statements, which"),
        (["task.training.jitter=-1"], "task.training.jitter=-1.0 must be at least 0"),
        (["task.preserve.region=[hair]"], "task.preserve.outside=0 that nothing holds the rest"),
        (["task.preserve.outside=1", "task.preserve.regions=[[a hat,hair]]"], "and task.preserve.region=[CLASS]"),
        (["task.preserve.outside=1"], "needs task.preserve.segmentation=FILE"),
        (["task.preserve.identity_network=none.safetensors"], "there is no file none.safetensors"),
        (["task.sources.space=z"], "task.sources.space=z must be w, or w"),
        (["task.sources.truncation=nan"], "task.sources.truncation=nan must be finite"),
        (["task.sources.count=3"], "task.sources.count=3 must be at least 4"),
        (["task.training.total_images=3"], "task.training.total_images=3 must be at least 4"),
        (["n=1"], "n=1 must be at least 2"),
        (["latents=none.npz"], "there is no file none.npz"),
        (["latents=a.npz", "images=b"], "both say what to learn on"),
        (["trainer.precision=16-mixed"], "use bf16-mixed"),
        (["trainer.devices=2"], "task=mapper trains on one device"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(
    words: list[str], says: str, train, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(*words) == cli.REFUSED
    sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: ")]
    assert len(sentences) == 1
    assert re.search(re.escape(says) if "\\" not in says else says, sentences[0])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda ws: {"w": torch.zeros(12, 18, 8).numpy()}, "have ws [18, 8], and this generator's are [8, 8]"),
        (lambda ws: {"w": torch.full_like(ws, torch.nan).numpy()}, "code 0 in"),
        (lambda ws: {"a": ws.numpy(), "b": ws.numpy()}, "no codes called ws, w, latents, codes"),
        (lambda ws: {"w": ws[:3].numpy()}, "there are 3 codes, of which 3 are to be held out"),
        (lambda ws: {"w": ws[:6].numpy()}, "3 codes are less than a batch"),
        (lambda ws: {"w": ws[:, 0, 0].numpy()}, "no codes called"),
    ],
)
def test_codes_that_do_not_fit(make, says: str, train, tiny_generator: Path, tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "codes.npz", **make(generator_of(tiny_generator).sample(12, seed=3).tensors["ws"]))
    assert train("text=a bald person", f"latents={tmp_path / 'codes.npz'}") == cli.REFUSED
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
