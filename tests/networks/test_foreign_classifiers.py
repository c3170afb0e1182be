"""Held against EditGAN's own classifier: names, shapes, a few logits (foreign_classifiers.json says how made)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from networks.checkpoints import classifiers
from networks.checkpoints.classifiers import is_classifier, members_of_head, read_classifiers, write_classifiers
from networks.checkpoints.errors import GanvasError
from networks.segmentation import HEADS, ReferenceHead, Window, build_head, head_for

ORIGINAL = json.loads(Path(__file__).with_name("foreign_classifiers.json").read_text())
SHAPES = {"b4.const": (3, 4), "b4.conv1": (3, 4), "b8.conv0": (3, 8), "b8.conv1": (3, 8), "b16.conv0": (2, 16),
          "b16.conv1": (2, 16)}  # fmt: skip
State = dict[str, torch.Tensor]


def generator(shapes: dict[str, tuple[int, int]] = SHAPES) -> Any:
    """What a head needs to know of one."""
    return SimpleNamespace(
        feature_shapes=shapes, constant_features=frozenset(["b4.const"]), img_channels=3,
        img_resolution=max(size for _, size in shapes.values()),
    )  # fmt: skip


def maps(shapes: dict[str, tuple[int, int]] = SHAPES) -> State:
    return {
        name: torch.cos(0.3 * torch.arange(c * r * r, dtype=torch.float64) + k).float().reshape(1, c, r, r)
        for k, (name, (c, r)) in enumerate(shapes.items())
    }


def state(classes: int, member: int) -> State:
    """The weights that the numbers were made with, under the original's names."""
    found = {}
    for i, (name, shape) in enumerate(sorted(ORIGINAL[str(classes)]["state"].items())):
        numel = torch.Size(shape).numel()
        x = torch.sin(torch.arange(numel, dtype=torch.float64) * 0.7 + i + member).float().reshape(shape)
        if name.endswith("num_batches_tracked"):
            x = torch.tensor(1)
        elif name.endswith("running_var"):
            x = 1 + 0.5 * x
        elif x.ndim == 2:
            x = 2 * x / math.sqrt(x.shape[1])
        else:
            x = 0.2 * x + name.endswith(("2.weight", "5.weight"))
        found[name] = x
    return found


def ensemble(folder: Path, classes: int = 11, stem: str = "model_", members: int = 2) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(members):
        torch.save({"model_state_dict": state(classes, i)}, folder / f"{stem}{i}.pth")
    return folder


@pytest.mark.parametrize("classes", [11, 34])
def test_logits_are_the_originals(tmp_path: Path, classes: int) -> None:
    head = read_classifiers(ensemble(tmp_path / "made", classes), generator())
    logits = head(maps()).mean(0)[0].flatten(1).T
    expected = torch.tensor(ORIGINAL[str(classes)]["logits"])
    torch.testing.assert_close(logits.flatten()[::37], expected, rtol=0, atol=1e-5)
    assert not head.training
    assert not any(p.requires_grad for p in head.parameters())


def test_a_large_generator_is_classified_on_a_coarser_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "LARGEST", 8)  # 512, of generators of 1024 pixels
    head = read_classifiers(ensemble(tmp_path / "made"), generator())
    values = torch.cat([interpolate(x, size=8, mode="bilinear", align_corners=False) for x in maps().values()], dim=1)
    coarse = head.classify(values[0].flatten(1).T.expand(2, -1, -1)).transpose(1, 2).unflatten(2, (8, 8))
    expected = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(maps())[:, 0], expected, rtol=0, atol=1e-5)
    part = Window(3, 10, 0, 16)
    torch.testing.assert_close(head.window(maps(), part), part.cut(head(maps())), rtol=0, atol=1e-5)
    assert build_head(head.manifest()).grid == 8


@pytest.mark.parametrize("given", ["made", "made/car_model.pth", "made/car_model_1.pth"])
def test_an_ensemble_is_a_folder_a_name_or_one_file(tmp_path: Path, given: str) -> None:
    ensemble(tmp_path / "made", stem="car_model_", members=12)
    path = tmp_path / given
    head = read_classifiers(path, generator())
    members = [1] if path.is_file() else range(12)  # 10 after 9, not after 1
    assert is_classifier(path)
    assert torch.equal(head.third_bias, torch.stack([state(11, i)["module.layers.6.bias"] for i in members]))


@pytest.mark.parametrize("classes", [11, 34])
def test_a_head_goes_out_as_the_original_writes_it_and_comes_back(tmp_path: Path, classes: int) -> None:
    head = read_classifiers(ensemble(tmp_path / "made", classes), generator())
    paths = write_classifiers(tmp_path / "out" / "car_model.pth", head)
    assert [path.name for path in paths] == ["car_model_0.pth", "car_model_1.pth"]
    for i, path in enumerate(paths):
        theirs = torch.load(path, weights_only=True)["model_state_dict"]
        assert {name: list(value.shape) for name, value in theirs.items()} == ORIGINAL[str(classes)]["state"]
        first = "module.layers.0.weight"
        assert torch.equal(theirs[first], state(classes, i)[first])
    assert torch.equal(read_classifiers(tmp_path / "out", generator())(maps()), head(maps()))


def test_maps_that_a_head_leaves_out_weigh_nothing_in_the_original(tmp_path: Path) -> None:
    head = head_for(generator(), "reference", 11, members=2).eval()  # without the constant
    assert members_of_head(head)[0]["0.weight"].shape[1] == head.width_in + 3
    write_classifiers(tmp_path / "model.pth", head)
    again = read_classifiers(tmp_path / "model.pth", generator())
    torch.testing.assert_close(again(maps()), head(maps()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "arguments", "says"), [
    ("linear", {}, "a head of kind 'linear' does not; train one with task/head=reference"),
    ("default", {}, "a head of kind 'default' does not"),
    ("reference", {"upsampling": "nearest"}, "trained on repeated pixels; train it with"),
    ("reference", {"out_resolution": 1024}, "at most 512x512 pixels, and this head 1024x1024"),
])  # fmt: skip
def test_what_the_original_cannot_hold(tmp_path: Path, kind: str, arguments: dict[str, Any], says: str) -> None:
    head = HEADS[kind](**{"feature_shapes": SHAPES, "num_classes": 11, "out_resolution": 16, "members": 1, **arguments})
    with pytest.raises(GanvasError, match=says):
        write_classifiers(tmp_path / "model.pth", head)
    assert not list(tmp_path.iterdir())


def damaged(folder: Path, name: str, value: torch.Tensor | None) -> Path:
    """An ensemble whose second member has another entry of this name, or none."""
    file = ensemble(folder) / "model_1.pth"
    weights = state(11, 1)
    weights.pop(f"module.layers.{name}")
    if value is not None:
        weights[f"module.layers.{name}"] = value
    torch.save({"model_state_dict": weights}, file)
    return folder


@pytest.mark.parametrize(("name", "value", "says"), [
    ("0.weight", torch.zeros(128, 9), "reads 9 channels, and the generator's maps have 16: give the generator"),
    ("6.bias", None, r"model_1.pth holds a network without layers.6.bias"),
    ("2.running_var", torch.ones(7), r"layers.2.running_var of \[7\], and EditGAN's classifier of 11 classes \[128\]"),
    ("3.bias", torch.full([32], float("nan")), "values that are NaN or infinite"),
])  # fmt: skip
def test_a_classifier_that_does_not_fit_is_named(
    tmp_path: Path, name: str, value: torch.Tensor | None, says: str
) -> None:
    with pytest.raises(GanvasError, match=says):
        read_classifiers(damaged(tmp_path / "made", name, value), generator())


def test_what_is_no_ensemble(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"there is no file .*no.pth, nor no_0.pth beside it"):
        read_classifiers(tmp_path / "no.pth", generator())
    torch.save({"g_ema": {"input.input": torch.zeros(1)}}, tmp_path / "other.pth")
    assert not is_classifier(tmp_path / "other.pth")
    with pytest.raises(GanvasError, match="holds no pixel classifier; give a classifier that EditGAN's"):
        read_classifiers(tmp_path / "other.pth", generator())
    two = ensemble(tmp_path / "two")
    torch.save({"model_state_dict": state(34, 1)}, two / "model_1.pth")
    with pytest.raises(GanvasError, match=r"model_1.pth has 34 classes, and model_0.pth 11"):
        read_classifiers(two, generator())
    ensemble(two, stem="car_model_iter5_number_")
    with pytest.raises(GanvasError, match="are the same member of an ensemble"):
        read_classifiers(two, generator())


def test_a_grid_divides_the_output() -> None:
    with pytest.raises(ValueError, match="16 pixels a side must be a multiple of grid, got 5"):
        ReferenceHead(SHAPES, 3, 16, grid=5)
