"""The benchmark script: its sections at tiny sizes, what it keeps, and what it says."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import inference, memory, ours, parity, quality, report, sections, segmentation, training
from benchmarks.formulas import ensemble_macs, feature_width
from benchmarks.report import Result
from benchmarks.settings import Settings
from benchmarks.workloads import random_generator, random_labels
from editors.invert import InversionSettings
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from trainers.segmentation import SegmentationSettings

TINY = replace(
    Settings().quick(), threads=1, large=32, huge=64, channel_base=512, labels=3, classes=4, members=2, heldout=3,
    seeds=(0, 1), side_seeds=1, other_draws=(3,), label_counts=(1, 2), max_epochs=1, budget=0.1, least_steps=2,
    step_draws=10, loader_draws=10, step_pixels=2000, infer_share=4, repeats=1, store_check=64,
    growth_base=(2, 4, 32), growth_labels=(2,), growth_classes=(4,), growth_resolutions=(32,), growth_budget=0.1,
)  # fmt: skip

# An independent twin of the original's class, laid out as its checkpoints are.
CLASSIFIER = """
import torch.nn as nn

class pixel_classifier(nn.Module):
    def __init__(self, numpy_class, dim):
        super().__init__()
        a, b = (128, 32) if numpy_class < 32 else (256, 128)
        self.layers = nn.Sequential(
            nn.Linear(dim, a), nn.ReLU(), nn.BatchNorm1d(a), nn.Linear(a, b), nn.ReLU(), nn.BatchNorm1d(b),
            nn.Linear(b, numpy_class))

    def init_weights(self):
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run here rather than in fresh processes, whose start would be most of the test."""
    def run(job: str, threads: int | None = None, **arguments) -> dict:
        return {**memory.JOBS[job](**arguments), "peak_gb": 0.5}
    monkeypatch.setattr(training, "in_child", run)


@pytest.mark.parametrize("module", [report, quality])
def test_examples_in_docstrings(module) -> None:
    assert doctest.testmod(module).failed == 0


def test_training_section(in_process: None) -> None:
    result = training.run(TINY)
    assert set(result.figures) == {"train_speedup_32", "train_speedup_32_loader", "memory_ratio_32"}
    assert all(value > 0 for value in result.figures.values())
    original = result.notes["original"]
    assert original["steps a member"] == 4 * 3 * 32 * 32 / 64 + 87
    parts = 3 * original["feature seconds an image"] + 2 * original["steps a member"] * original["step seconds"]
    assert original["seconds"] == pytest.approx(parts)


def test_memory_section(in_process: None) -> None:
    figures = training.run_huge(TINY).figures
    assert figures == {"peak_gb_64_train": 0.5, "peak_gb_64_infer": 0.5}


def test_growth_section(in_process: None) -> None:
    rows = training.run_growth(TINY).notes["growth"]
    assert [row["varied"] for row in rows] == ["labels", "classes", "resolution"]
    # The three curves cross at the base, which is measured once.
    assert len({row["our seconds"] for row in rows}) == 1


def test_inference_section() -> None:
    result = inference.run(TINY)
    assert result.figures["infer_macs_ratio_32"] > 1
    assert result.notes["original gigamacs"] == ensemble_macs(feature_width(32, 512), 32, 4, members=2) / 1e9


def test_a_whole_training_is_measured_and_a_cut_one_multiplied() -> None:
    generator = random_generator(32, channel_base=512)
    labels = random_labels(generator, 4, 3)
    settings = SegmentationSettings(passes=4, least_steps=1, windows=1, images_per_step=2, jitter=0.05, refresh=2)
    head, whole = ours.train_default(generator, labels, settings, members=2)
    assert whole.whole
    assert whole.steps_run == whole.steps == 8
    assert whole.renderings == 2
    assert whole.store_gb == pytest.approx(sum(4 * c * r * r * 4 for c, r in head.shapes.values()) / 1e9)
    _, cut = ours.train_default(generator, labels, settings, 2, ours.Limits(0.0, least_steps=3, one_rendering=True))
    assert not cut.whole
    assert (cut.steps_run, cut.steps) == (3, 8)
    assert cut.seconds > 8 * cut.step_seconds


def test_a_child_reports_its_own_peak() -> None:
    job = memory.in_child("feature_stack", 1, resolution=32, channel_base=2048, device="cpu")
    assert 0.05 < job["peak_gb"] < 4
    assert job["bytes_gb"] == pytest.approx(32 * 32 * feature_width(32, 2048) * (4 + 2) / 1e9)


PARENT = """
import torch
from benchmarks import memory
before = memory.peak_resident_gb()
torch.ones(250_000_000)  # 1 GB, gone at once
arguments = dict(resolution=32, channel_base=512, classes=2, members=1, device="cpu")
print(before, memory.peak_resident_gb(), memory.in_child("infer", 1, **arguments)["peak_gb"])
"""


def test_a_peak_stays_when_memory_is_given_back_and_is_not_the_childs() -> None:
    # In a process of its own: this one's peak may come from any test before.
    command = [sys.executable, "-c", PARENT]
    said = subprocess.run(command, cwd=memory.ROOT, capture_output=True, text=True, check=True)
    before, peak, child = map(float, said.stdout.split())
    assert 0.8 < peak - before < 1.2
    assert child < peak - 0.4


def test_a_failing_child_is_one_sentence() -> None:
    with pytest.raises(RuntimeError, match=r"job infer failed: .*img_resolution must be a power of two"):
        memory.in_child("infer", 1, resolution=33, channel_base=512, classes=2, members=1, device="cpu")


def test_avatars_section(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random_generator(32, channel_base=512)
    labels, heldout = (random_labels(generator, 3, 4, seed=seed) for seed in (0, 1))
    place = quality.Workplace(generator, labels, heldout, TINY)
    monkeypatch.setattr(quality, "prepare", lambda settings: place)
    monkeypatch.setattr(quality, "draw_labels", lambda generator, _, draw: random_labels(generator, 3, 4, seed=draw))
    monkeypatch.setattr(quality, "SegmentationSettings", partial(SegmentationSettings, passes=2, least_steps=1))
    monkeypatch.setattr(quality, "train_reference", partial(quality.train_original, scaled=True))
    result = quality.run(TINY)
    figures, arms = result.figures, {row["arm"]: row for row in result.notes["arms"]}
    assert figures["miou_gain"] == pytest.approx(figures["miou_default"] - figures["miou_reference"])
    assert figures["train_speedup_32"] == pytest.approx(arms["original"]["seconds"] / arms["default"]["seconds"])
    assert {name: arm["seeds"] for name, arm in arms.items()} == {
        "default": 2, "original": 2, "original, unscaled clean-up": 1, "reference": 1,
    }  # fmt: skip
    draws = result.notes["by draw of the labels"]
    assert [row["draw"] for row in draws] == [0, 3]
    assert figures["miou_gain_over_draws"] == pytest.approx(sum(row["default"] - row["original"] for row in draws) / 2)
    assert [row["arm"] for row in result.notes["default by labels"]] == ["1 labels", "2 labels"]
    assert result.notes["stacked against batched logits, largest difference"] < 1e-4


def test_side_arms_can_be_left_out() -> None:
    found = {name: quality.Arm([50.0 + i], [10.0 / (i + 1)], [5]) for i, name in enumerate(("original", "default"))}
    found |= {name: quality.Arm() for name in quality.SIDE_ARMS}
    figures = quality._figures(found, [], [], replace(TINY, other_draws=()), 64)
    assert figures == {
        "miou_default": 51.0, "miou_reference": 50.0, "miou_reference_unscaled": None, "miou_gain": 1.0,
        "miou_gain_over_draws": None, "reference_gap_to_original": None, "labels_to_match_16": None,
        "train_speedup_64": 2.0,
    }  # fmt: skip


@pytest.mark.slow
def test_labels_and_held_out_avatars_are_inverted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr(quality, "InversionSettings", partial(InversionSettings, steps=2, samples=8))
    bundle = tmp_path / "g.safetensors"
    save_generator(bundle, random_generator(32, channel_base=512), {})
    place = quality.prepare(replace(TINY, generator=bundle))
    assert (len(place.labels), len(place.heldout)) == (3, 3)
    assert place.labels.masks.shape[1:] == (32, 32)
    assert place.labels.class_names == place.heldout.class_names


def test_parity_without_a_checkout() -> None:
    result = parity.run(TINY)
    assert result.figures == {"reference_max_diff": None}
    assert "not at hand" in result.notes["original"]


def test_parity_refuses_another_folder(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="no checkout of editGAN_release"):
        parity.load_original(tmp_path)


def test_parity_with_a_class_like_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / parity.CLASSIFIER
    path.parent.mkdir(parents=True)
    path.write_text(CLASSIFIER)
    monkeypatch.setattr(parity, "STEPS", 20)
    figures = parity.run(replace(TINY, original=tmp_path)).figures
    assert figures["reference_max_diff"] < 1e-5
    assert figures["reference_trajectory_max_diff"] < 1e-10


def test_parity_notices_another_network(tmp_path: Path) -> None:
    class Other(nn.Module):
        def __init__(self, numpy_class: int, dim: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(dim, 128), nn.Tanh(), nn.BatchNorm1d(128), nn.Linear(128, 32), nn.ReLU(),
                nn.BatchNorm1d(32), nn.Linear(32, numpy_class),
            )  # fmt: skip

        def init_weights(self) -> None:
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02)
                    nn.init.zeros_(layer.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

    assert parity.compare(Other, 4).logits > 1e-3


def test_a_failed_section_loses_no_other(tmp_path: Path) -> None:
    def broken(settings: Settings) -> Result:
        raise RuntimeError("no luck")

    def stopped(settings: Settings) -> Result:
        raise KeyboardInterrupt

    works = {"one": lambda s: Result({"a": 1.5}), "three": lambda s: Result({"c": 3})}
    works = {"one": works["one"], "two": broken, "three": works["three"], "four": stopped}
    out = tmp_path / "deep" / "out.json"
    found, failed = sections.run_sections("Some", works, list(works), TINY, out, "command")
    assert failed == {"two": "RuntimeError: no luck", "four": "interrupted"}
    kept = json.loads(out.read_text())
    assert (kept["a"], kept["c"]) == (1.5, 3)
    assert list(found) == list(kept["sections"]) == ["one", "three"]

    works["two"] = lambda s: Result({"b": 2})
    found, failed = sections.run_sections("Some", works, ["two"], TINY, out, "command", "a busy machine")
    assert not failed
    assert list(found) == ["one", "two", "three"]
    page = out.with_suffix(".md").read_text()
    assert page.startswith("# Some\n")
    assert "| b " in page
    assert page.count("- note: a busy machine") == 1


def test_last_line_is_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(segmentation.SECTIONS, "growth", lambda s: Result({"growth_points": s.heldout}))
    code = segmentation.main(["--quick", "--only", "growth", "--only", "parity", "--out", str(tmp_path / "r.json")])
    assert code == 0
    lines = capsys.readouterr().out.strip().splitlines()
    figures = json.loads(lines[-1])
    assert figures["growth_points"] == 64
    assert figures["reference_max_diff"] is None
    assert figures["sections"]["growth"]["settings"]["seeds"] == list(Settings().quick().seeds)
    assert "threads" in figures["sections"]["growth"]["hardware"]
    assert str(tmp_path) not in json.dumps(figures)


def test_a_section_that_fails_is_told_by_the_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings) -> Result:
        raise RuntimeError("no luck")

    monkeypatch.setitem(segmentation.SECTIONS, "growth", broken)
    assert segmentation.main(["--quick", "--only", "growth", "--out", str(tmp_path / "r.json")]) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="use --device cpu"):
        segmentation.main(["--device", "cuda", "--out", str(tmp_path / "r.json")])


def test_the_table_says_what_was_missed() -> None:
    entry = {"figures": {"memory_ratio_512": 19.0, "peak_gb_1024_train": 7.0, "labels_to_match_16": None}}
    lines = report.table({"s": entry}).splitlines()
    assert "MISSED" in lines[2]
    assert "reached" in lines[3]
    assert "not measured" in lines[4]


def test_a_gpu_has_targets_of_its_own() -> None:
    figures = {"figures": {"steps_ratio": 4.0}}
    found = {device: report.table({"s": {**figures, "settings": {"device": device}}}) for device in ("cpu", "cuda")}
    assert ">= 3 reached" in found["cpu"]
    assert ">= 5 MISSED" in found["cuda"]


def test_damaged_results_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"sections": {')
    assert report.read_sections(path) == {}
