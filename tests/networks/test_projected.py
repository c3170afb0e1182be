"""The projected discriminator: what is trained and what is not, what it gives, and that it goes on where it stopped."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.bundle import read_bundle
from networks.checkpoints.generators import load_strictly, save_generator
from networks.gan_losses import discriminator_loss
from networks.projected import ProjectedDiscriminator, Projection, widths


def discriminator(c_dim: int = 0, seed: int = 0) -> ProjectedDiscriminator:
    torch.manual_seed(seed)
    return ProjectedDiscriminator(32, c_dim, width=4, cmap_dim=8, feature_resolution=128)


def images(n: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def stripes(n: int = 2, seed: int = 0) -> Tensor:
    """Pictures of another kind, with the same mean."""
    return images(n, seed).mean(2, keepdim=True).expand(-1, -1, 32, -1).contiguous()


def step(D: ProjectedDiscriminator, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    discriminator_loss(D(images(4)), D(stripes(4)), "hinge").backward()
    optimizer.step()


def adam(D: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(D.parameters(), lr=5e-3, betas=(0.0, 0.99))


@pytest.fixture(scope="module")
def shared() -> ProjectedDiscriminator:
    """For tests that change nothing: in eval mode, where the statistics of batches stay as they are."""
    return discriminator().eval()


def test_only_the_heads_are_trained() -> None:
    D = discriminator()
    assert all(name.startswith("heads.") for name, _ in D.named_parameters())
    assert all(p.requires_grad for p in D.parameters())
    before = copy.deepcopy(D.state_dict())
    step(D, adam(D))
    after = D.state_dict()
    assert any(name.startswith("projection.network.features._blocks") for name in before)
    for name, value in after.items():
        if name.startswith("projection."):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not any(torch.equal(p, before[name]) for name, p in D.named_parameters())


def test_nothing_thaws_the_features() -> None:
    D = discriminator().train().requires_grad_(True)
    assert not any(value.requires_grad for value in D.projection.buffers())
    assert not any(module.training for module in D.projection.network.modules())
    assert all(module.training for module in D.heads.modules())


def test_the_gradient_reaches_every_pixel(shared: ProjectedDiscriminator) -> None:
    x = images(1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(shared(x).mean(), x)
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


def test_sixteen_logits_of_each_discriminator_at_the_classifier_s_size() -> None:
    D = ProjectedDiscriminator(64, width=2)
    assert [x.shape[-1] for x in D.projection(torch.zeros(1, 3, 64, 64))] == [112, 56, 28, 14]
    assert D(torch.zeros(1, 3, 64, 64)).shape == (1, 4 * 16)
    assert discriminator()(images()).shape == (2, 4)


def test_larger_images_are_seen_as_they_are() -> None:
    D = ProjectedDiscriminator(256, width=1)
    assert [x.shape[-1] for x in D.projection(torch.zeros(1, 3, 256, 256))] == [128, 64, 32, 16]


def test_scales_are_mixed_as_published() -> None:
    """From the coarsest map: add the finer one, enlarge it, and only then convolve."""
    torch.manual_seed(0)
    projection = Projection(4, 128).eval()
    with torch.no_grad():
        for convolution in projection.scales:
            nn.init.normal_(convolution.bias)
        maps = projection(images())
        above: Tensor | None = None
        for i, x in reversed([*enumerate(projection.features.pyramid(images()))]):
            mixed = projection.channels[i](x)
            mixed = mixed if above is None else mixed + above
            above = projection.scales[i](F.interpolate(mixed, scale_factor=2, mode="bilinear", align_corners=True))
            torch.testing.assert_close(maps[i], above, rtol=1e-4, atol=1e-4)
    assert [x.shape[1] for x in maps] == widths(4)[:4] == [4, 4, 8, 16]


def test_the_seed_decides_the_projections() -> None:
    a, b, other = (discriminator(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    same = {name for name in a if torch.equal(a[name], other[name])}
    assert "projection.network.features._conv_stem.weight" in same
    assert not any(f"projection.network.{kind}.{i}.weight" in same for kind in ("channels", "scales") for i in range(4))


def test_a_resumed_run_goes_on_to_the_same_weights() -> None:
    D = discriminator()
    optimizer = adam(D)
    step(D, optimizer)
    file = io.BytesIO()
    torch.save([D.state_dict(), optimizer.state_dict()], file)
    step(D, optimizer)

    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed = discriminator(seed=9)
    resumed.load_state_dict(weights)
    optimizer = adam(resumed)
    optimizer.load_state_dict(state)
    step(resumed, optimizer)
    for name, value in D.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_a_bundle_holds_it(tmp_path: Path) -> None:
    D = discriminator(c_dim=3).eval()
    bundle = read_bundle(save_generator(tmp_path / "d.safetensors", D, {}))
    assert bundle.kind == "projected_discriminator"
    again = ProjectedDiscriminator(**bundle.manifest["config"]).eval()
    load_strictly(again, bundle.tensors, "the discriminator")
    c = torch.eye(3)[:2]
    torch.testing.assert_close(again(images(), c), D(images(), c), rtol=0, atol=0)


def test_it_learns_to_tell_two_kinds_of_images() -> None:
    D = discriminator()
    optimizer = adam(D)
    for _ in range(3):
        step(D, optimizer)
    with torch.no_grad():  # of other images; each kind a batch of its own, as in training
        assert D(images(4, seed=1)).mean() > 0.3 > -0.3 > D(stripes(4, seed=1)).mean()


def test_a_label_changes_the_judgement_and_is_learnt() -> None:
    D = discriminator(c_dim=3)
    D(images(3), torch.eye(3)).sum().backward()
    assert all(head.embed.weight.grad.abs().min() > 0 for head in D.heads)
    D.eval()
    one = images(1)
    logits = torch.cat([D(one, c[None]) for c in torch.eye(3)])
    assert logits.unique(dim=0).shape == (3, 4)
    torch.testing.assert_close(D(one.expand(3, -1, -1, -1), torch.eye(3)), logits)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"img_resolution": 64, "feature_resolution": 96}, "a multiple of 32, at least 128, got 96"),
        ({"img_resolution": 64, "feature_resolution": 200}, "a multiple of 32, at least 128, got 200"),
        ({"img_resolution": 250}, "a multiple of 32, at least 128, got 250"),
        ({"img_resolution": 64, "width": 0}, "width and cmap_dim must be at least 1 and c_dim at least 0, got 0, 64"),
        ({"img_resolution": 64, "c_dim": -1}, "and c_dim at least 0, got 64, 64 and -1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ProjectedDiscriminator(**arguments)


def test_images_and_labels_that_do_not_fit_are_named(shared: ProjectedDiscriminator) -> None:
    with pytest.raises(ValueError, match=r"img must be \[N, 3, 32, 32\], got \[2, 1, 32, 32\]"):
        shared(torch.zeros(2, 1, 32, 32))
    with pytest.raises(ValueError, match=r"c must be None, got \[2, 3\]"):
        shared(images(), torch.zeros(2, 3))
    conditional = discriminator(c_dim=3)
    with pytest.raises(ValueError, match=r"c must be \[2, 3\], got None"):
        conditional(images())
    with pytest.raises(ValueError, match=r"c must be \[2, 3\], got \[1, 3\]"):
        conditional(images(), torch.zeros(1, 3))
