"""Whole networks through the registered ops: the same numbers, second derivatives that are there, compiled graphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cuda_ops import backend
from cuda_ops.bias_act import bias_act
from cuda_ops.upfirdn2d import filter2d, setup_filter, upfirdn2d, upsample2d
from networks.stylegan2 import Discriminator, Generator


def gradients(loss: Callable[[], Tensor], network: nn.Module) -> list[Tensor]:
    """For each parameter; zeros where it has no part."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def r1(critic: Discriminator) -> Tensor:
    """Mescheder et al. 2018: the squared gradient of the scores for the images."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(critic.b4.out.weight.device)
    images.requires_grad_()
    (slope,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return slope.square().sum()


def path_length(generator: Generator) -> Tensor:
    """Karras et al. 2020, equation 4: the gradient of an image in a random direction for the latents."""
    drawn = torch.Generator().manual_seed(2)
    ws = torch.randn(2, generator.num_ws, generator.w_dim, generator=drawn).to(generator.device).requires_grad_()
    image = generator.synthesis(ws)
    towards = torch.randn(image.shape, generator=drawn).to(image)
    (slope,) = torch.autograd.grad((image * towards).sum(), ws, create_graph=True)
    return slope.square().sum(dim=(1, 2)).sqrt().mean()


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
@pytest.mark.parametrize("penalty", [r1, path_length])
def test_regularisers_differentiate_twice(
    device: str, penalty: Callable, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network: nn.Module
    if penalty is r1:
        network = Discriminator(16, channel_base=128, channel_max=8, architecture=architecture)
    else:
        network = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=8,
                            architecture=architecture)  # fmt: skip
    network.to(device)
    got = gradients(lambda: penalty(network), network)
    monkeypatch.setattr(backend, "has_kernels", lambda x: False)
    wanted = gradients(lambda: penalty(network), network)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * max(1.0, b.abs().max().item()))
    convolutions = [g for (name, _), g in zip(network.named_parameters(), got, strict=True) if "conv0.weight" in name]
    assert convolutions
    assert all(g.abs().max() > 0 for g in convolutions), "a penalty without a graph teaches nothing"


def layers(x: Tensor, bias: Tensor, f: Tensor) -> Tensor:
    x = bias_act(filter2d(upsample2d(x, f), f, padding=2), bias, act="lrelu", clamp=2.0)
    return upfirdn2d(bias_act(x, bias, act="swish"), f, down=2, padding=1).square().sum()


@pytest.mark.parametrize("engine", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_graph_with_the_ops_compiles(device: str, engine: str) -> None:
    drawn = torch.Generator().manual_seed(0)
    x, bias = (torch.randn(shape, generator=drawn).to(device).requires_grad_() for shape in ((2, 3, 8, 8), (3,)))
    compiled = torch.compile(layers, backend=engine, fullgraph=True)
    arguments = (x, bias, setup_filter().to(device))
    got, wanted = compiled(*arguments), layers(*arguments)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, (x, bias)), torch.autograd.grad(wanted, (x, bias)))


def test_plain_pytorch_compiles_to_no_op_of_ours() -> None:
    """Where there are no kernels the compiler sees, and fuses, what an op is made of."""
    calls: list[str] = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable:
        calls.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compile(layers, backend=count, fullgraph=True)(torch.randn(2, 3, 8, 8), torch.randn(3), setup_filter())
    assert any("conv2d" in call for call in calls)
    assert not any("ganvas" in call for call in calls)
