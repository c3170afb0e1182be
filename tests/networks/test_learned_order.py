"""The gradient of depths: exact for perturbed depths, nothing else changed, and descent on it finds an order."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cuda_ops.blob_splat import AREA, blob_opacity
from networks.blobgan import BlobGenerator, Jitter, Layout
from networks.blobgan.learned_order import Blobs, depth_gradient
from tests.networks.test_blobgan import SMALL, made

COLOURS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0]])  # the background's first


def scenes(n: int, k: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Layout:
    """Blobs that overlap, with depths."""
    drawn = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=drawn, dtype=dtype)

    turn = 6.28 * uniform(k)
    return Layout(
        0.3 + 0.4 * uniform(k, 2), 4 * uniform(k), uniform(k) - 0.5, torch.stack([turn.cos(), turn.sin()], 2),
        uniform(k + 1, 4), uniform(k + 1, 3), 0.5 + 0.5 * uniform(k), 2 * uniform(k) - 1,
    )  # fmt: skip


def shapes(layout: Layout) -> Blobs:
    return Blobs(layout.depth, layout.centre, layout.size, layout.log_aspect, layout.angle, layout.opacity)


def mean_weights(layout: Layout, resolution: int, tau: float, nodes: int = 800) -> Tensor:
    """Equation (1): the weights in the mean over depths with logistic noise."""
    o, depth = blob_opacity(*shapes(layout)[1:5], resolution, opacity=layout.opacity), layout.depth
    low, high = (float(t) for t in depth.detach().aminmax())
    at = torch.linspace(low - 30 * tau, high + 30 * tau, nodes, dtype=depth.dtype)
    total = torch.zeros_like(o)
    for x in at:
        beyond = torch.sigmoid((depth - x) / tau)[..., None, None]
        passed = 1 - o * beyond
        light = torch.stack([torch.cat([passed[:, :i], passed[:, i + 1 :]], 1).prod(1) for i in range(o.shape[1])], 1)
        total = total + o * beyond * (1 - beyond) / tau * light
    return total * (at[1] - at[0])


def image(layout: Layout) -> Tensor:
    """Each blob in its colour."""
    return torch.einsum("nkhw,kc->nchw", layout.weights(32, 8)[32], COLOURS[: layout.k + 1])


def pair(depth: Tensor) -> Layout:
    """Two blobs that cover half of one another."""
    zero, features = torch.zeros(1, 2), torch.zeros(1, 3, 1)
    centre, angle = torch.tensor([[[0.45, 0.5], [0.55, 0.5]]]), torch.tensor([1.0, 0.0]).expand(1, 2, 2)
    return Layout(centre, zero + 3, zero, angle, features, features, None, depth)


def test_perturbed_depths_have_these_weights_in_the_mean() -> None:
    layout, draws = scenes(1, 4), 4000
    u = torch.rand(draws, 4, generator=torch.Generator().manual_seed(1))
    many = Layout(**{name: t.expand(draws, *t.shape[1:]) for name, t in layout.tensors().items()})
    drawn = many.replace(depth=layout.depth + u.logit()).weights(8, 8)[8]
    torch.testing.assert_close(drawn[:, 1:].mean(0), mean_weights(layout, 8, 1.0)[0], rtol=0, atol=0.02)


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0, 40.0])
def test_it_is_the_gradient_of_the_mean_over_perturbed_depths(spread: float) -> None:
    layout = scenes(1, 5, torch.float64)
    tau = max(1.0, float(layout.depth.max() - layout.depth.min()) * spread / 6)
    depth = (spread * layout.depth).requires_grad_()
    layout = layout.replace(depth=depth)
    of_weights = torch.randn(1, 6, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    (expected,) = torch.autograd.grad((mean_weights(layout, 16, tau) * of_weights[:, 1:]).sum(), depth)
    found = depth_gradient((of_weights,), shapes(layout), AREA, 0.0)
    assert (found - expected).norm() < 0.02 * expected.norm()
    torch.testing.assert_close(found.sum(1), torch.zeros(1).double())
    # Weights sum to 1, so what all of their gradients have in common says nothing.
    torch.testing.assert_close(depth_gradient((of_weights + 3,), shapes(layout), AREA, 0.0), found)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_coarse_grid_is_enough(offset: float) -> None:
    layout = scenes(4, 5)
    depth = layout.depth.clone().requires_grad_()
    levels = layout.replace(depth=depth).weights(64, 16, offset=offset)
    waves = torch.linspace(1, 6, 5)[:, None, None]
    means = [(w[:, 1:] * (waves * torch.linspace(0, 2, w.shape[-1])).cos()).mean((2, 3)).sum() for w in levels.values()]
    grads = torch.autograd.grad(sum(means), list(levels.values()))
    fine, coarse = (depth_gradient(grads, shapes(layout), AREA, offset, grid) for grid in (64, 16))
    assert (fine - coarse).norm() < 0.02 * fine.norm()


@pytest.mark.parametrize("k", [1, 3])
def test_nothing_but_the_gradient_of_depth_changes(k: int) -> None:
    generator = made(k=k, own_opacity=True, depth="learned")
    layout = generator.layout_network(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    results = []
    for learned in (True, False):
        tensors = {name: t.detach().requires_grad_(learned or name != "depth") for name, t in layout.tensors().items()}
        out = generator.synthesis(Layout(**tensors))
        free = [t for t in tensors.values() if t.requires_grad]
        results.append([out, *torch.autograd.grad(out.square().mean(), free)])
    *first, of_depth = results[0]
    for mine, plain in zip(first, results[1], strict=True):
        assert torch.equal(mine, plain)
    with torch.no_grad():
        assert torch.equal(generator.synthesis(layout), first[0])
    assert bool((of_depth != 0).all()) == (k > 1)
    assert of_depth.isfinite().all()


def test_without_a_gradient_of_depth_there_is_no_pass_of_its_own() -> None:
    layout = scenes(1, 3).replace(centre=torch.rand(1, 3, 2).requires_grad_())
    assert "LearnedOrder" not in type(layout.weights(16, 8)[16].grad_fn).__name__
    assert "LearnedOrder" not in type(layout.replace(depth=None).weights(16, 8)[16].grad_fn).__name__
    learned = layout.replace(depth=layout.depth.clone().requires_grad_())
    assert "LearnedOrder" in type(learned.weights(16, 8)[16].grad_fn).__name__
    with torch.no_grad():
        assert not learned.weights(16, 8)[16].requires_grad


@pytest.mark.parametrize("start", [[1.0, 0.0], [0.1, 0.0], [3.0, -3.0]])
def test_descent_swaps_two_blobs_that_lie_the_wrong_way_round(start: list[float]) -> None:
    target = image(pair(torch.tensor([[0.0, 1.0]])))
    depth = torch.tensor([start], requires_grad=True)
    first = (image(pair(depth)) - target).square().mean()
    for _ in range(100):
        loss = (image(pair(depth)) - target).square().mean()
        (gradient,) = torch.autograd.grad(loss, depth)
        with torch.no_grad():
            depth -= 10 * gradient
    assert first > 0.01
    assert loss == 0
    assert depth[0, 0] < depth[0, 1]


def test_blobs_that_lie_right_stay() -> None:
    start = torch.tensor([[0.0, 0.01]])
    target = image(pair(start))
    depth = start.clone().requires_grad_()
    (image(pair(depth)) - target).square().mean().backward()
    assert torch.equal(depth.grad, torch.zeros(1, 2))


def test_the_right_order_holds_where_colours_are_wrong() -> None:
    """A loss is taken as linear, so a swap that overshoots is tried, and undone at once."""
    target, depth = 0.9 * image(pair(torch.tensor([[0.0, 1.0]]))), torch.tensor([[0.0, 1.0]], requires_grad=True)
    right = 0
    for _ in range(300):
        (gradient,) = torch.autograd.grad((image(pair(depth)) - target).square().mean(), depth)
        with torch.no_grad():
            depth -= 10 * gradient
        right += int(depth[0, 0] < depth[0, 1])
    assert right > 250


@pytest.mark.parametrize("seed", range(4))
def test_descent_finds_the_order_of_several_blobs(seed: int) -> None:
    layout = scenes(1, 4, seed=seed).replace(opacity=None)
    drawn = torch.Generator().manual_seed(seed)
    target = image(layout.replace(depth=torch.randn(1, 4, generator=drawn)))
    depth = torch.randn(1, 4, generator=drawn).requires_grad_()
    optimiser = torch.optim.Adam([depth], lr=0.05)
    losses = []
    for _ in range(200):
        loss = (image(layout.replace(depth=depth)) - target).square().mean()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[0] > 1e-3
    assert losses[-1] < 0.01 * losses[0]


def test_a_layout_network_learns_an_order() -> None:
    generator = made(depth="learned").requires_grad_(False)
    network = generator.layout_network
    z = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    layout = network(z)
    target = layout.replace(depth=torch.tensor([2.0, 0.0, 1.0]).expand(8, -1)).weights(32, 8)[8]
    network.blobs.requires_grad_(True)
    optimiser, losses = torch.optim.Adam(network.blobs.parameters(), lr=0.02), []
    for _ in range(60):
        moved = layout.replace(depth=network(z).depth)
        losses.append((moved.weights(32, 8)[8] - target).square().mean())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.05 * losses[0]


def test_jitter_and_autocast_keep_the_gradient() -> None:
    layout = scenes(2, 4).replace(style=torch.rand(2, 5, 6), structure=torch.rand(2, 5, 10))
    generator, found = made(depth="learned"), []
    for autocast in (False, True):
        depth = layout.depth.clone().requires_grad_()
        moved = Jitter(0.04, 0.5, 0.1)(layout.replace(depth=depth), torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            generator.synthesis(moved).square().mean().backward()
        found.append(depth.grad)
    assert (found[0] != 0).all()
    assert (found[1] - found[0]).norm() < 0.1 * found[0].norm()


def test_no_number_is_read_so_that_graphs_can_be_captured() -> None:
    with FakeTensorMode():  # refuses to say what a tensor holds
        generator = BlobGenerator(**SMALL, depth="learned")
        layout = Jitter(0.04, 0.5, 0.1)(generator.layout_network(torch.randn(2, 16)))
        generator.synthesis(layout).square().mean().backward()
        assert generator.layout_network.blobs.weight.grad is not None


def test_it_compiles_whole() -> None:
    layout = scenes(1, 3)
    of_weights = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def loss(depth: Tensor) -> Tensor:
        return (layout.replace(depth=depth).weights(16, 8)[16] * of_weights).sum()

    plain, compiled = (layout.depth.clone().requires_grad_() for _ in range(2))
    loss(plain).backward()
    torch.compile(loss, backend="aot_eager", fullgraph=True)(compiled).backward()
    torch.testing.assert_close(compiled.grad, plain.grad)


def test_it_is_twice_differentiable() -> None:
    layout = scenes(1, 3, torch.float64)
    weights = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    free = [layout.centre.clone().requires_grad_(), layout.size.clone().requires_grad_()]

    def gradient(of_weights: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        moved = layout.replace(centre=centre, size=size, depth=layout.depth.clone().requires_grad_())
        loss = (moved.weights(8, 8)[8] * of_weights).sum()
        return torch.autograd.grad(loss, moved.depth, create_graph=True)[0]

    assert torch.autograd.gradcheck(gradient, (weights, *free))


def test_every_tensor_of_a_layout_has_a_gradient() -> None:
    layout = Layout(**{name: t.clone().requires_grad_() for name, t in scenes(1, 3).tensors().items()})
    made(structure_dim=4, style_dim=3).synthesis(layout).square().mean().backward()
    assert [f.name for f in fields(Layout) if not getattr(layout, f.name).grad.any()] == []
