"""Critics agree with the networks whose weights they load, and say what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.critics import PACKAGED_FEATURES, feature_network, perceptual
from networks.critics.efficientnet_lite0 import PYRAMID, EfficientNetLite0, SameConv
from networks.critics.lpips_critic import LpipsCritic
from networks.critics.lpips_distance import embed
from networks.critics.stlpips import BlurPool, BlurredConv, StLpips
from networks.critics.weights import packaged_weights
from networks.torchvision_shim import declare_torchvision_ops


def waves(height: int, width: int, phase: float) -> torch.Tensor:
    """A smooth picture from a formula: the same on every machine."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    channels = [torch.sin(7 * x + 3 * y * (c + 1) + phase) * torch.cos((5 - c) * y - phase) for c in range(3)]
    return torch.stack(channels)[None]


@pytest.fixture(scope="module")
def alex() -> StLpips:
    return StLpips.load("alex")


# Printed by the published package itself (stlpips_pytorch 0.0.2, variant "shift_tolerant") for the pictures above.
GOLDEN = [
    ("alex", 64, 64, (0.015963, 0.374432, 0.637494)),
    ("alex", 48, 80, (0.014606, 0.353004, 0.637813)),
    ("vgg", 64, 64, (0.026055, 0.47643, 0.726881)),
    ("vgg", 48, 80, (0.032892, 0.498343, 0.683805)),
]


@pytest.mark.parametrize(("trunk", "height", "width", "expected"), GOLDEN)
def test_distances_are_those_of_the_published_package(trunk, height, width, expected) -> None:
    critic = StLpips.load(trunk)
    other = torch.cat([waves(height, width, phase) for phase in (0.1, 0.7, 2.0)])
    ours = critic(waves(height, width, 0.0).expand(3, -1, -1, -1), other)
    torch.testing.assert_close(ours, torch.tensor(expected), rtol=1e-4, atol=2e-6)


def test_one_embedding_of_the_target_serves_every_step(alex: StLpips) -> None:
    x, y = waves(64, 64, 0.3), waves(64, 64, 1.0)
    target = alex.features(y)
    torch.testing.assert_close(alex.distance(alex.features(x), target), alex(x, y))
    assert alex(x, x).item() == 0


def test_a_shift_is_seen_less_than_a_blur(alex: StLpips) -> None:
    rows = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = F.interpolate(rows, size=(80, 80))
    shifted, still = picture[..., 8:72, 9:73], picture[..., 8:72, 8:72]
    blurred = F.avg_pool2d(F.pad(still, (2, 2, 2, 2), mode="replicate"), 5, 1)
    assert alex(still, shifted).item() < 0.2 * alex(still, blurred).item()


def test_gradients_are_finite_even_for_a_flat_image(alex: StLpips) -> None:
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    alex(x, waves(64, 64, 0.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


def test_a_pixel_without_features_embeds_as_zero_with_a_finite_gradient() -> None:
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    (embedded,) = embed([features], [torch.ones(4)])
    embedded.square().sum().backward()
    assert embedded.abs().max() == 0
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_critics_are_frozen(alex: StLpips) -> None:
    assert not any(p.requires_grad for p in alex.parameters())
    assert not alex.training


@settings(deadline=None, max_examples=10)
@given(height=st.integers(4, 12), width=st.integers(4, 12), seed=st.integers(0, 99))
def test_the_fused_first_layer_is_convolution_then_blur(height: int, width: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    draw = {"generator": random, "dtype": torch.float64}
    weight, bias = torch.randn(5, 3, 11, 11, **draw), torch.randn(5, **draw)
    x = torch.randn(2, 3, 2 * height + 6, 2 * width + 6, **draw)
    expected = BlurPool(5).double()(F.conv2d(x, weight, bias, padding=2))
    # The blur's own taps are exact in binary, so float64 weights keep float64 accuracy.
    fused = BlurredConv(weight.float(), bias.float(), padding=2).double()
    reference = BlurPool(5).double()(F.conv2d(x, weight.float().double(), bias.float().double(), padding=2))
    torch.testing.assert_close(fused(x), reference, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(reference, expected, rtol=1e-5, atol=1e-4)


def test_odd_sizes_and_wrong_images_are_named(alex: StLpips) -> None:
    with pytest.raises(ValueError, match="must be even, got 65x64"):
        alex.features(torch.zeros(1, 3, 65, 64))
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\] with H, W >= 32, got \[1, 1, 64, 64\]"):
        alex.features(torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="one shape"):
        alex(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32))


# --- lpips


@pytest.fixture(scope="module")
def lpips_network() -> nn.Module:
    declare_torchvision_ops()
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)  # a random trunk: its weights are not in any package, and the arithmetic is the same
    return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()


def test_lpips_behind_our_interface_is_lpips(lpips_network: nn.Module) -> None:
    x, y = waves(64, 64, 0.0), waves(64, 64, 0.7)
    with torch.no_grad():
        expected = lpips_network(x, y).flatten()
    torch.testing.assert_close(LpipsCritic(lpips_network)(x, y), expected, rtol=1e-4, atol=1e-6)


def test_lpips_without_its_trunk_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GanvasError, match=r"download https.*vgg16-397923af.pth to .*or use critic stlpips"):
        perceptual("lpips-vgg")


# --- features


@pytest.fixture(scope="module")
def efficientnet() -> EfficientNetLite0:
    return EfficientNetLite0.load()


def test_same_padding_puts_the_odd_pixel_last() -> None:
    conv = SameConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    # TensorFlow, SAME, stride 2, size 4: windows start at 0 and 2, and one zero is added at the end.
    out = conv(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)).detach()
    torch.testing.assert_close(out[0, 0, 0], torch.tensor([9.0, 15.0]))


def test_scores_are_those_of_the_published_conversion(efficientnet: EfficientNetLite0) -> None:
    """Printed by the package efficientnet_lite_pytorch 0.1.0 at 128 pixels for the pictures above."""
    scores = efficientnet.logits(torch.cat([waves(128, 128, phase) for phase in (0.0, 1.0, 2.0)]))
    assert scores.argmax(1).tolist() == [641, 641, 641]
    torch.testing.assert_close(scores.amax(1), torch.tensor([9.1349, 12.2421, 11.5227]), rtol=1e-4, atol=1e-3)


def test_features_are_pooled_and_do_not_depend_on_the_batch(efficientnet: EfficientNetLite0) -> None:
    images = torch.cat([waves(64, 64, phase) for phase in (0.0, 1.0, 2.0)])
    features = efficientnet(images)
    assert features.shape == (3, 1280)
    torch.testing.assert_close(features[1:2], efficientnet(images[1:2]), rtol=1e-4, atol=1e-5)
    assert efficientnet.logits(images).shape == (3, 1000)
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        efficientnet(torch.zeros(1, 4, 64, 64))


def test_the_pyramid_holds_the_last_map_of_each_scale(efficientnet: EfficientNetLite0) -> None:
    maps = efficientnet.pyramid(waves(64, 64, 0.0))
    assert [tuple(x.shape[1:]) for x in maps] == [(c, 32 // 2**i, 32 // 2**i) for i, c in enumerate(PYRAMID)]
    last = F.relu6(efficientnet._bn1(efficientnet._conv_head(maps[-1])))
    torch.testing.assert_close(last, efficientnet.maps(waves(64, 64, 0.0)))
    # A scale ends just before the block that halves it.
    halving = [block for block in efficientnet._blocks if block.stride == 2]
    torch.testing.assert_close(halving[1](maps[0])[0, :, 0, 0], _after(efficientnet, halving[1])[0, :, 0, 0])


def _after(network: EfficientNetLite0, last: nn.Module) -> torch.Tensor:
    x = network.stem(waves(64, 64, 0.0))
    for block in network._blocks:
        x = block(x)
        if block is last:
            return x
    raise AssertionError


@pytest.mark.parametrize("name", PACKAGED_FEATURES)
def test_feature_networks_give_vectors(name: str) -> None:
    features = feature_network(name)(waves(64, 64, 0.0))
    assert features.ndim == 2
    assert features.shape[1] == {"efficientnet-lite0": 1280, "stlpips-alex": 1152}[name]


@pytest.mark.parametrize("name", PACKAGED_FEATURES)
def test_feature_networks_see_small_images_too(name: str) -> None:
    """The smallest generator draws 16x16; repeated pixels say the same as the image itself."""
    network, small = feature_network(name), waves(16, 16, 0.0)
    assert network(small).isfinite().all()
    if name == "stlpips-alex":
        torch.testing.assert_close(network(small), network(small.repeat_interleave(2, 2).repeat_interleave(2, 3)))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(GanvasError, match=r"unknown perceptual critic 'vgg': choose one of stlpips-alex, "):
        perceptual("vgg")
    with pytest.raises(GanvasError, match=r"unknown feature network 'vgg': choose one of efficientnet-lite0, "):
        feature_network("vgg")
    with pytest.raises(GanvasError, match=r"stlpips-alex has its own weights, so a\.pth would not be used"):
        feature_network("stlpips-alex", "a.pth")


def test_missing_packages_say_what_to_install() -> None:
    with pytest.raises(GanvasError, match="run `pip install no-such-thing`"):
        packaged_weights("no_such_thing", "a.pth", "no-such-thing")
    with pytest.raises(GanvasError, match="reinstall it with"):
        packaged_weights("stlpips_pytorch", "weights/none.pth", "stlpips-pytorch")
