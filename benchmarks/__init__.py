"""Ratios measured side by side, and their results. Not part of the wheel."""

from networks.torchvision_shim import declare_torchvision_ops

declare_torchvision_ops()  # before the first import of Lightning, in a child process too
