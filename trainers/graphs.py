"""Passes of networks as CUDA graphs: replayed whole, where launching their kernels takes longer than running them.

What is captured may not wait for the GPU, and sees numbers of Python as they were at its first call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 3  # calls before a capture, in which libraries choose their ways

Inputs = tuple[Tensor | None, ...]


class Graphed:
    """A network in a graph of autograd: captured at the first call of a kind, forward and backward, then replayed.

    Inputs of other shapes or types, or of which others need a gradient, are another kind, and so are other settings.
    Without gradients, or off a GPU, the network is called as it is. An output is differentiated once, and stays until
    the next call writes over it; so does a gradient until the next pass backward.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._captured: dict[Any, nn.Module] = {}

    def __call__(self, *inputs: Tensor | None, **settings: Any) -> Tensor:
        if not torch.is_grad_enabled() or not _on_gpu(inputs):
            return self._network(*inputs, **settings)
        kind, tensors = _kind(inputs, settings), tuple(x for x in inputs if x is not None)
        if kind not in self._captured:
            call = _Call(self._network, inputs, settings)
            samples = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in tensors)
            with _undone([self._network], tensors[0].device):
                graphed = torch.cuda.make_graphed_callables(call, samples, WARM_UP, allow_unused_input=True)
            self._captured[kind] = graphed
        return self._captured[kind](*tensors)


class Captured:
    """A function whose results nobody differentiates: captured at its first call of a kind, then replayed.

    Kinds are those of :class:`Graphed`. Results stay until the next call writes over them.

    Args:
        function: of tensors and settings, to a tuple of tensors; may differentiate inside.
        networks: those that it runs, whose weights are changed in place only.
    """

    def __init__(self, function: Callable[..., Inputs], networks: Iterable[nn.Module]) -> None:
        self._function, self._networks = function, tuple(networks)
        self._captured: dict[Any, tuple[Inputs, torch.cuda.CUDAGraph, Inputs]] = {}

    def __call__(self, *inputs: Tensor | None, **settings: Any) -> Inputs:
        if not _on_gpu(inputs):
            return self._function(*inputs, **settings)
        kind = _kind(inputs, settings)
        if kind not in self._captured:
            self._captured[kind] = self._capture(inputs, settings)
        taken, graph, results = self._captured[kind]
        for to, value in zip(taken, inputs, strict=True):
            if to is not None:
                to.copy_(value)
        graph.replay()
        return results

    def _capture(self, inputs: Inputs, settings: dict[str, Any]) -> tuple[Inputs, torch.cuda.CUDAGraph, Inputs]:
        taken = tuple(None if x is None else x.detach().clone() for x in inputs)
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with _undone(self._networks, next(x.device for x in taken if x is not None)):
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._function(*taken, **settings)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                results = self._function(*taken, **settings)
        return taken, graph, results


class _Call(nn.Module):
    """A network as a function of tensors alone; it owns the same weights."""

    def __init__(self, network: nn.Module, inputs: Inputs, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.given = [x is not None for x in inputs]
        self.training = network.training

    def forward(self, *tensors: Tensor) -> Tensor:
        left = iter(tensors)
        return self.network(*(next(left) if given else None for given in self.given), **self.settings)


def _on_gpu(inputs: Inputs) -> bool:
    return all(x.is_cuda for x in inputs if x is not None)


def _kind(inputs: Inputs, settings: dict[str, Any]) -> tuple[Any, ...]:
    of = [None if x is None else (x.shape, x.stride(), x.dtype, x.requires_grad) for x in inputs]
    return *of, *settings.items()


@contextmanager
def _undone(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Undo what happens to buffers and random numbers."""
    buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    with torch.random.fork_rng(devices=[device]):
        yield
    for buffer, before in buffers:
        buffer.copy_(before)
