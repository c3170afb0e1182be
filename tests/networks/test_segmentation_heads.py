"""Heads against the computation they stand for: everything enlarged, concatenated, and passed through an MLP."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

from networks.checkpoints.errors import GanvasError
from networks.segmentation import HEADS, Head, PyramidHead, ReferenceHead, Window, build_head, predict, predict_mask
from networks.segmentation.geometry import enlarge, enlarge_window, sample_table

SHAPES = {"b4.const": (5, 4), "b4.conv1": (5, 4), "b8.conv0": (6, 8), "b16.conv0": (3, 16), "b16.conv1": (3, 16)}
OUT, CLASSES = 16, 4


def features(n: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {k: torch.randn(n, c, r, r, generator=rng, dtype=torch.float64) for k, (c, r) in SHAPES.items()}


def head(kind: str, members: int = 3, **arguments) -> Head:
    common = {"feature_shapes": SHAPES, "num_classes": CLASSES, "out_resolution": OUT, "members": members}
    made = build_head({"head": kind, "arguments": common | arguments}).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():  # weights far from their initial zeros, so that every term counts
        for value in made.parameters():
            value.copy_(0.5 * torch.randn(value.shape, generator=rng, dtype=torch.float64))
    return made


def concatenated(maps: dict[str, torch.Tensor], out: int = OUT, mode: str = "bilinear") -> torch.Tensor:
    """What no head ever makes: ``[N * out * out, D]``."""
    how = {"mode": mode} if mode == "nearest" else {"mode": mode, "align_corners": False}
    large = [interpolate(x, size=(out, out), **how) for x in maps.values()]
    return torch.cat(large, dim=1).movedim(1, -1).flatten(0, 2)


def original_member(reference: ReferenceHead, m: int) -> nn.Sequential:
    """Member ``m`` as DatasetGAN would hold it."""
    wide, narrow = reference.first.shape[1], reference.second.shape[1]
    mlp = nn.Sequential(
        nn.Linear(reference.width_in, wide), nn.ReLU(), nn.BatchNorm1d(wide),
        nn.Linear(wide, narrow), nn.ReLU(), nn.BatchNorm1d(narrow),
        nn.Linear(narrow, reference.num_classes),
    ).double()  # fmt: skip
    weights = [reference.first, reference.second, reference.third]
    biases = [reference.first_bias, reference.second_bias, reference.third_bias]
    with torch.no_grad():
        for layer, weight, bias in zip([mlp[0], mlp[3], mlp[6]], weights, biases, strict=True):
            layer.weight.copy_(weight[m])
            layer.bias.copy_(bias[m])
        for norm, ours in ((mlp[2], reference.first_norm), (mlp[5], reference.second_norm)):
            for name, value in norm.state_dict().items():
                theirs = getattr(ours, name)
                value.copy_(theirs if theirs.ndim == 0 else theirs.view(reference.members, -1)[m])
    return mlp


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("classes", "mode"), [(4, "bilinear"), (32, "bilinear"), (4, "nearest")])
def test_reference_is_the_original_mlp_on_concatenated_features(classes: int, mode: str, training: bool) -> None:
    ours, maps = head("reference", num_classes=classes, upsampling=mode).train(training), features()
    members = [original_member(ours, m).train(training) for m in range(3)]
    with torch.no_grad():
        expected = torch.stack([mlp(concatenated(maps, mode=mode)) for mlp in members])
        logits = ours(maps)
    torch.testing.assert_close(logits.permute(0, 1, 3, 4, 2).reshape(expected.shape), expected, rtol=0, atol=1e-10)
    running = torch.cat([mlp[2].running_mean for mlp in members])
    torch.testing.assert_close(ours.first_norm.running_mean, running, rtol=0, atol=1e-10)


def test_classifying_given_features_is_the_same_network() -> None:
    ours, maps = head("reference").eval(), features()
    values = concatenated(maps)
    with torch.no_grad():
        logits = ours.classify(values.expand(3, -1, -1))
        torch.testing.assert_close(logits, ours(maps).permute(0, 1, 3, 4, 2).flatten(1, 3), rtol=0, atol=1e-10)


def test_linear_is_one_layer_on_concatenated_features() -> None:
    ours, maps = head("linear", members=1), features()
    expected = concatenated(maps) @ ours.first[0].T + ours.first_bias[0]
    torch.testing.assert_close(ours(maps)[0].permute(0, 2, 3, 1).flatten(0, 2), expected, rtol=0, atol=1e-10)


def test_a_bundle_says_how_maps_are_enlarged() -> None:
    ours = head("reference", upsampling="nearest").eval()
    assert ours.manifest()["upsampling"] == "each level directly to the output size, nearest"
    assert build_head(ours.manifest()).nearest
    with pytest.raises(GanvasError, match="upsampling must be bilinear or nearest, got 'cubic'"):
        head("reference", upsampling="cubic")


def test_output_may_be_smaller_than_the_finest_map() -> None:
    ours, maps = head("reference", out_resolution=8).eval(), features()
    with torch.no_grad():
        expected = original_member(ours, 1).eval()(concatenated(maps, 8))
        torch.testing.assert_close(ours(maps)[1].movedim(1, -1).flatten(0, 2), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", HEADS)
@settings(deadline=None, max_examples=8)
@given(edges=st.tuples(*[st.integers(0, OUT - 1)] * 4))
def test_a_window_is_that_part_of_the_whole(kind: str, edges: tuple[int, int, int, int]) -> None:
    (top, bottom), (left, right) = sorted(edges[:2]), sorted(edges[2:])
    window, ours, maps = Window(top, bottom + 1, left, right + 1), head(kind).eval(), features()
    with torch.no_grad():
        torch.testing.assert_close(ours.window(maps, window), window.cut(ours(maps)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("tile", [5, 16])
def test_prediction_does_not_depend_on_tiles(kind: str, tile: int) -> None:
    ours, maps = head(kind).eval(), features()
    found = predict(ours, maps, tile=tile)
    torch.testing.assert_close(found.logits, ours(maps).mean(dim=0), rtol=0, atol=1e-10)
    assert found.mask.dtype == torch.uint8
    assert found.disagreement.shape == (2, OUT, OUT)
    assert bool((found.disagreement >= 0).all())


@pytest.mark.parametrize("kind", HEADS)
def test_the_mean_needs_no_member_s_logits(kind: str) -> None:
    ours, maps, part = head(kind).eval(), features(), Window(3, 9, 0, OUT)
    expected = ours(maps).mean(dim=0)
    torch.testing.assert_close(ours.mean_window(maps, part), part.cut(expected), rtol=0, atol=1e-10)
    assert torch.equal(predict_mask(ours, maps, tile=5), predict(ours, maps).mask)


@pytest.mark.parametrize("kind", HEADS)
def test_a_manifest_rebuilds_the_head(kind: str) -> None:
    ours, maps = head(kind, left_out=["b4.const"]).eval(), features()
    again = build_head(json.loads(json.dumps(ours.manifest()))).double().eval()
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again(maps), ours(maps), rtol=0, atol=0)
    assert again.feature_names == ours.feature_names == tuple(SHAPES)[1:]


@pytest.mark.parametrize("kind", HEADS)
def test_a_map_left_out_changes_nothing(kind: str) -> None:
    ours, maps = head(kind, left_out=["b4.const"]).eval(), features()
    expected = ours(maps)
    maps["b4.const"] = maps["b4.const"] + 100
    torch.testing.assert_close(ours(maps), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", HEADS)
def test_no_tensor_of_full_size_holds_all_features(kind: str) -> None:
    """The point of projecting first: the largest tensor any step makes stays far below ``[N, D, H, W]``."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for t in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(t, torch.Tensor):
                    largest = max(largest, t.numel())
            return result

    shapes = {f"b{r}.conv0": (400, r) for r in (4, 8, 16, 32)}
    extra = {"width": 8, "hidden": 4} if kind == "default" else {}
    ours = build_head({"head": kind, "arguments": {
        "feature_shapes": shapes, "num_classes": 4, "out_resolution": 64, "members": 2, **extra,
    }}).eval()  # fmt: skip
    maps = {name: torch.randn(1, c, r, r) for name, (c, r) in shapes.items()}
    with Watch(), torch.no_grad():
        ours(maps)
    assert largest < 1600 * 64 * 64 / 5


def test_standardised_features_give_the_same_logits_whatever_their_units() -> None:
    ours, maps = head("default").eval(), features(4)
    ours.standardise(maps)
    expected = ours(maps)
    scaled = {name: 7 * x - 3 for name, x in maps.items()}
    ours.standardise(scaled)
    torch.testing.assert_close(ours(scaled), expected, rtol=0, atol=1e-3)  # statistics are kept in single precision


def test_members_see_different_dropout() -> None:
    ours, maps = head("default", dropout=0.5).train(), features()
    with torch.no_grad():
        for value in (ours.second, ours.second_bias, ours.third, ours.third_bias):
            value.copy_(value[:1].expand_as(value))  # equal members
    logits = ours(maps)
    assert not torch.allclose(logits[0], logits[1])
    torch.testing.assert_close(ours.eval()(maps)[0], ours(maps)[1])


@settings(deadline=None, max_examples=10)
@given(size=st.sampled_from([1, 2, 4, 8]), factor=st.sampled_from([1, 2, 4]), seed=st.integers(0, 9))
def test_windows_and_pixels_of_an_enlarged_map(size: int, factor: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, out = torch.randn(2, 3, size, size, generator=rng, dtype=torch.float64), size * factor
    whole = enlarge(x, factor)
    for window in Window.whole(out).tiles(3):
        have = window.shrink(factor).grow(1, size)
        torch.testing.assert_close(enlarge_window(have.cut(x), have, factor, window), window.cut(whole))
    image, yx = torch.randint(2, (9,), generator=rng), torch.randint(out, (9, 2), generator=rng)
    table = x.movedim(1, -1).flatten(0, 2)
    found = sample_table(table, (size, size), image, yx, out)
    torch.testing.assert_close(found, whole[image, :, yx[:, 0], yx[:, 1]])
    repeated = interpolate(x, size=(out, out), mode="nearest")
    found = sample_table(table, (size, size), image, yx, out, nearest=True)
    torch.testing.assert_close(found, repeated[image, :, yx[:, 0], yx[:, 1]])


def test_errors_name_what_is_wrong() -> None:
    maps = features()
    with pytest.raises(ValueError, match=r"b8.conv0 must be \[N, 6, 8, 8\], got \[2, 6, 4, 8\]"):
        head("linear")({**maps, "b8.conv0": maps["b8.conv0"][:, :, :4]})
    with pytest.raises(ValueError, match=r"reads the feature map 'b8.conv0', which is missing"):
        head("linear")({name: x for name, x in maps.items() if name != "b8.conv0"})
    with pytest.raises(ValueError, match="at least one feature map"):
        PyramidHead(SHAPES, 3, OUT, left_out=SHAPES)
    with pytest.raises(ValueError, match="must divide each other"):
        PyramidHead({"a": (3, 6), "b": (3, 16)}, 3, 16)
    for wrong in ({"width": 0}, {"hidden": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"members": 0}):
        with pytest.raises(GanvasError, match=rf"'default' cannot be built: .*{next(iter(wrong))}.* must be at least"):
            head("default", **({"members": 3} | wrong))
    with pytest.raises(GanvasError, match=r"no segmentation head 'unet'; choose one of: reference, linear, default"):
        build_head({"head": "unet", "arguments": {}})
    with pytest.raises(GanvasError, match=r"'linear' cannot be built: .*depth"):
        build_head({"head": "linear", "arguments": {"depth": 3}})
