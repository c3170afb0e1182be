"""Shared by all tests: torchvision made importable first, and one thread, so that tests share a machine kindly."""

from __future__ import annotations

import torch

from networks.torchvision_shim import declare_torchvision_ops

declare_torchvision_ops()
torch.set_num_threads(1)
