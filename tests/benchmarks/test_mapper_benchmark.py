"""The original's step is what it says, and the sections of the mapper's benchmark give what they promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import mapper, mapper_directions, mapper_steps, mapper_texts, memory
from benchmarks.mapper_directions import Directions, of_dims
from benchmarks.mapper_settings import Settings
from benchmarks.mapper_texts import Training, Trainings
from benchmarks.original_directions import OriginalDirections
from benchmarks.original_mapper import CLIP, IDENTITY, LENGTH, OriginalMapper
from benchmarks.report import TARGETS
from benchmarks.turns import Spent
from benchmarks.workloads import random_generator
from datamodules.latents import SourceBatch
from editors.text_directions import RelevanceSettings, channel_directions
from launch.compose import compose
from launch.figures import Figure, Measured, Protocol
from networks.channel_statistics import channel_statistics
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.styleclip import read_styleclip
from networks.clip import ClipMix, ClipModel, Preprocessing
from networks.identity import IdentityNetwork
from networks.mapper import STYLECLIP, mapper_for
from networks.mapper.sources import remembered
from networks.mapper.wish import Wish
from networks.preservation import IdentityPreservation, Preserved
from networks.protocol import Generator
from tests.clips import DIM, tiny_clip
from tests.launch.conftest import tiny_judges
from trainers.mapper import Judges, MapperTrainer

TINY = replace(
    Settings().quick(), threads=1, large=32, channel_base=512, codes=2, small_turns=1, small_steps=1, renders=2,
    images=1, dims=(1, 2), small_renders=2, small_images=2, checked=3, texts=2,
)  # fmt: skip
TEXT = "a smiling person"


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    path = tmp_path_factory.mktemp("g") / "g.safetensors"
    return load_generator(save_generator(path, random_generator(32, channel_base=512), {}))


def legacy_clip() -> ClipModel:
    """Of 32 pixels, which sees images as the original's does: in [-1, 1]."""
    clip = tiny_clip()
    return ClipModel(clip.identity, DIM, Preprocessing(32, legacy=True), clip.image_tower, clip.text_tower)


@pytest.fixture(scope="module")
def original(generator: Generator) -> OriginalMapper:
    torch.manual_seed(0)
    identity = IdentityNetwork(32, width=4).eval().requires_grad_(False)
    return OriginalMapper(generator, legacy_clip(), identity, TEXT, generator.sample(4, seed=0))


def test_its_loss_is_that_of_our_preset(original: OriginalMapper, generator: Generator) -> None:
    """Frozen networks, remembered sources and cached texts change nothing of what is computed."""
    mix, identity = ClipMix([original.clip]), IdentityPreservation(original.identity)
    preserved = Preserved({"identity": identity}, {"identity": IDENTITY})
    judges = Judges(generator, mix, Wish.of(mix, [TEXT], "a person", ("{}",)), preserved)
    ours = MapperTrainer([mapper_for(generator, "levels", STYLECLIP, measured=False)], judges, 8, optimizer="ranger",
                         clip=CLIP, directional=0.0, length=LENGTH, up_to=1024)  # fmt: skip
    (kept,) = remembered(generator, original.latent, mix, preserved)
    batch = SourceBatch(kept.pop("image"), dict(original.latent.tensors), kept)
    ((terms, which),) = ours.terms(batch)
    weights = ours.weights | preserved.weights(which)
    total = sum(weights[name] * x.mean() for name, x in terms.items())
    torch.testing.assert_close(original.loss(original.latent.tensors["ws"]), total, rtol=1e-5, atol=1e-5)
    assert sum(original.losses.values()) == pytest.approx(total.item(), abs=1e-5)


def test_a_clip_of_its_size_sees_it_enlarged_and_averaged(generator: Generator, original: OriginalMapper) -> None:
    seen = []
    clip = legacy_clip()
    tower = torch.nn.Sequential(Tap(seen), torch.nn.AdaptiveAvgPool2d(32), clip.image_tower)
    large = ClipModel(clip.identity, DIM, Preprocessing(224, legacy=True), tower, clip.text_tower)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    OriginalMapper(generator, large, original.identity, TEXT, original.latent).unlike(images)
    torch.testing.assert_close(seen[0], large.preprocessing(images), rtol=0, atol=1e-5)


class Tap(torch.nn.Module):
    """Keeps what goes through."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return x


@pytest.mark.parametrize("asleep", [False, True])
def test_a_step_trains_the_mapper_and_leaves_gradients_unless_frozen(
    generator: Generator, original: OriginalMapper, asleep: bool
) -> None:
    mine = OriginalMapper(generator, original.clip, original.identity, TEXT, original.latent, asleep=asleep)
    weights = [p for network in mine.networks() for p in network.parameters()]
    for p in weights:
        p.grad = None
    before = [p.clone() for p in mine.mapper.parameters()]
    mine.step()
    assert any((p != old).any() for p, old in zip(mine.mapper.parameters(), before, strict=True))
    assert any(p.grad is not None for p in weights) is not asleep
    assert not any(p.requires_grad for p in weights)  # ours beside it finds them frozen


def test_its_checkpoint_holds_the_generator(original: OriginalMapper, tmp_path: Path) -> None:
    original.save(tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)["state_dict"]
    decoder = [x for name, x in state.items() if name.startswith("decoder.")]
    assert sum(x.numel() for x in decoder) > sum(x.numel() for x in original.mapper.parameters()) / 100
    with pytest.raises(Exception, match="mapper"):
        read_styleclip(tmp_path / "m.pt")  # its names are ours, which the original's are not


def test_a_channel_found_as_the_original_does_is_a_channel_of_ours(generator: Generator) -> None:
    """But for 8-bit pixels."""
    clip = tiny_clip()
    settings = RelevanceSettings("exhaustive", images=1, samples=16)
    path = "b32.conv1"
    base = generator.in_styles(generator.sample(1, settings.seed, truncation=settings.truncation))
    theirs = OriginalDirections(generator, clip, base, channel_statistics(generator, settings.samples))
    up, down = theirs.some(path, 2)
    assert theirs.renders(10) == 10 * 100 * 2
    assert up.shape == down.shape == (DIM,)
    (ours,) = channel_directions(generator, clip, settings, [(path, 0)])
    assert float(torch.nn.functional.normalize(up - down, dim=0) @ ours) > 0.99


def test_a_clip_of_fewer_dimensions_sees_the_same(generator: Generator) -> None:
    clip, images = tiny_clip(), torch.rand(2, 3, 32, 32)
    whole, few = clip.image_tower(clip.preprocessing(images)), of_dims(clip, 3)
    torch.testing.assert_close(few.image_tower(few.preprocessing(images)), whole[:, :3])
    assert Directions(generator, clip, 1, 1, 1).gradient(2) > 0


def tiny_place(
    settings: Settings, folder: Path, batch: int | None = None, asleep: bool = False
) -> mapper_steps.Place:  # fmt: skip
    """As ``large_place``, without a CLIP of open_clip."""
    words = ["experiment=mapper/avatars", f"out={folder / f'run-{batch}'}", "task.sources.count=4", "n=2",
             "task.preserve.perceptual=0", f"task.batch_size={batch or 4}", *tiny_judges(folder)]  # fmt: skip
    return mapper_steps.Place.of(random_generator(32, channel_base=512), words, batch=settings.batch, asleep=asleep)


def test_sections_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: Generator) -> None:
    monkeypatch.setattr(mapper_steps, "large_place", tiny_place)
    found = mapper_steps.run(TINY)
    assert found.figures.keys() == {"steps_ratio", "steps_ratio_frozen"}
    row = found.notes["steps"][0]
    assert row["ratio"] == pytest.approx(row["original, s/image"] / row["ours, s/image"])
    assert (row["our batch"], row["original's"]) == (4, 2)
    save_generator(tmp_path / "g.safetensors", random_generator(32, channel_base=512), {})
    monkeypatch.setattr(mapper_steps, "SMALL", [*mapper_steps.SMALL, "task.sources.count=8", *tiny_judges(tmp_path)])
    small = mapper_steps.run_small(replace(TINY, generator=tmp_path / "g.safetensors"))
    assert small.figures.keys() == {"steps_ratio_32", "steps_ratio_32_same_terms"}
    assert mapper_steps.run_files(TINY).figures["checkpoint_mb"] < mapper_steps.run_files(TINY).notes["original's mb"]


def test_section_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run here, where a peak is of whatever came before: only how the figures are made is tested."""
    monkeypatch.setattr(mapper_steps, "large_place", tiny_place)
    monkeypatch.setattr(mapper_steps.Files, "written", lambda folder, model: None)
    held: list[float] = []

    def run(job: str, threads: int | None = None, **arguments: object) -> dict:
        held.append(memory.JOBS[job](**arguments)["before_gb"])
        return {"before_gb": 1.0, "peak_gb": 7.0 if arguments["side"] == "original" else 3.0}

    monkeypatch.setattr(mapper_steps, "in_child", run)
    found = mapper_steps.run_memory(TINY)
    assert found.figures == {"step_memory_ratio": 3.0}
    assert found.notes["whole process, ratio"] == pytest.approx(7 / 3)
    assert len(held) == 3
    assert min(held) > 0.05


def test_sections_of_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper_directions, "load_clip", lambda spec: tiny_clip())
    monkeypatch.setattr(mapper_directions.Files, "written", lambda folder, model: mapper_steps.Files(folder, folder))
    found = mapper_directions.run(TINY)
    assert found.figures.keys() == {"directions_ratio", "directions_ratio_gradient_32"}
    assert found.notes["dimensions of the CLIP"] == DIM
    save_generator(tmp_path / "g.safetensors", random_generator(32, channel_base=512), {})
    small = mapper_directions.run_small(replace(TINY, generator=tmp_path / "g.safetensors"))
    assert {"directions_ratio_gradient", "directions_agreement"} <= small.figures.keys()
    assert -1 <= small.figures["directions_agreement"] <= 1
    assert small.notes["original, seconds in all (multiplied up)"] == pytest.approx(
        small.notes["rows"][0]["original, s/image"] * small.notes["channels"] * 2 * TINY.small_images
    )


def test_a_share_of_a_training_is_multiplied_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that take 10 seconds and a hundredth of one for each image: so much a whole one would take."""
    said: list[list[str]] = []

    def command(words: Sequence[str]) -> Spent:
        said.append(list(words))
        images = next(int(word.rpartition("=")[2]) for word in words if "total_images" in word)
        return Spent(0.0, 10 + images / 100)

    monkeypatch.setattr(mapper_texts, "command", command)
    whole = Training.of("mapper/conditioned", "texts=[a,b]")
    runs = Trainings(replace(TINY, share=0.03, probe=0.03), tmp_path)
    assert runs.whole(whole)[0] == pytest.approx(10 + whole.images / 100)
    assert runs.pretraining(whole) == pytest.approx(whole.pretrained / 100)
    options = compose("train", said[0][1:]).task.training
    assert (options.total_images, options.pretrained) == (round(0.03 * whole.images), round(0.03 * whole.pretrained))
    assert len({word for words in said for word in words if word.startswith("out=")}) == len(said) == 4
    assert Trainings(replace(TINY, share=1.0), tmp_path).whole(whole)[0] == 10 + whole.images / 100
    found = mapper_texts.run(replace(TINY, share=0.1, scored=0))
    single = Training.of("mapper/avatars", "text=a").images
    assert found.figures["avatar_mapper_minutes"] == pytest.approx((10 + single / 100) / 60, rel=1e-2)
    bank = Training.of("mapper/bank").images
    assert found.figures["eight_texts_over_one"] == pytest.approx((10 + bank / 100) / (10 + single / 100), rel=1e-2)
    assert found.figures["eight_texts_over_one_same_recipe"] == pytest.approx(1, rel=1e-2)
    monkeypatch.setattr(mapper_texts, "command", lambda _words: Spent(0.0, 10.0))
    assert runs.whole(whole)[0] == pytest.approx(10 + whole.images / 100)   # it is kept
    runs = replace(runs, folder=tmp_path / "other")
    runs.folder.mkdir()
    with pytest.raises(RuntimeError, match="too little to be timed"):
        runs.pretraining(whole)
    assert found.notes["success, percent"] == "not measured"


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_trainings_are_scored(share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []

    def command(words: Sequence[str]) -> Spent:
        if words[0] == "evaluate":
            evaluated.append(compose("evaluate", list(words[1:])).mapper)
        return Spent(0.0, 1.0 + 1e-6 * sum(int(w.rpartition("=")[2]) for w in words if "total_images" in w))

    monkeypatch.setattr(mapper_texts, "command", command)
    figure = Figure(0.9, Protocol("codes", "", 3))
    kept = Figure(0.05, figure.protocol)
    measured = Measured("evaluate", None, {"success": figure, "leakage_worst": kept}, "", "", None, "", [])
    monkeypatch.setattr(mapper_texts, "read_figures", lambda folder: measured)
    found = mapper_texts.run(replace(TINY, share=share, scored=3))
    assert len(evaluated) == 2 * 3
    assert "conditioned.safetensors" in {Path(path).name for path in evaluated}
    assert (found.figures["points_behind_bank"], found.figures["points_behind_conditioned"]) == (0.0, 0.0)
    assert found.notes["success, percent"][0]["single"] == 90.0


@pytest.mark.parametrize("experiment", [mapper_texts.SINGLE, mapper_texts.BANK, mapper_texts.CONDITIONAL])
def test_a_quick_run_learns_from_a_batch_or_more(experiment: str) -> None:
    """Also in the shorter of two shares, and after what is learned without texts."""
    whole, batch = Training.of(experiment), compose("train", [f"experiment={experiment}"]).task.batch_size
    share = mapper_texts.LESS * Settings().quick().share
    assert round(share * whole.images) - round(share * whole.pretrained) >= batch


def test_a_command_that_fails_is_one_sentence() -> None:
    with pytest.raises(RuntimeError, match="there is no experiment `no/such`"):
        mapper_texts.command(["train", "experiment=no/such"])
    assert mapper_texts.command(["--help"]).cpu > 0


def test_the_script(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code = mapper.main(["--quick", "--only", "files", "--share", "0.5", "--out", str(tmp_path / "r.json")])
    assert code == 0
    figures = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert figures["checkpoint_mb"] < 15
    assert figures["sections"]["files"]["command"].endswith("--quick --only files --share 0.5")
    assert "| checkpoint_mb" in (tmp_path / "r.md").read_text()
    with pytest.raises(GanvasError, match="--share is above 0"):
        mapper.main(["--share", "2"])
    promised = {"steps_ratio", "step_memory_ratio", "checkpoint_mb", "avatar_mapper_minutes", "eight_texts_over_one"}
    assert promised <= TARGETS.keys()
