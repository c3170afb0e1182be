"""A mapper with random weights: what a figure of a trained one is held against."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from networks.mapper.edit import MapperEdit, Part
from networks.mapper.mixture import MixtureMapper, build_mapper
from networks.mapper.network import Mapper


def untrained(edit: MapperEdit, seed: int = 0) -> MapperEdit:
    """The same mappers, in the same units, with weights as they are drawn before training.

    A head that begins at zero gives no steps to compare; it gets random weights, too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = (tuple(replace(part, mapper=_drawn(part)) for part in stage) for stage in edit.stages)
        return MapperEdit(tuple(stages))


def _drawn(part: Part) -> Mapper | MixtureMapper:
    fresh, trained = build_mapper(part.mapper.config), copy.deepcopy(part.mapper)
    for name, buffer in fresh.named_buffers():
        buffer.copy_(trained.get_buffer(name))
    for layer in fresh.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
    return fresh.eval().requires_grad_(False)
