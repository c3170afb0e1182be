"""Feed-forward networks as ONNX files, which run without PyTorch; each is run beside the network before it is kept."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

INPUT, OUTPUT = "image", "logits"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3    # of logits; another order of sums stays far below it
CHECKED = 3         # images in the batch that is compared; the file takes any number


def write_onnx(path: str | Path, network: nn.Module, size: int, about: dict[str, Any]) -> float:
    """Write a network from images ``[N, C, size, size]`` in [-1, 1] to logits ``[N, K, size, size]``, for any N.

    Args:
        path: the ``.onnx`` file to write.
        network: in evaluation mode, with ``in_channels``.
        size: pixels a side, which the file keeps to.
        about: kept in the file's metadata under ``ganvas``, as JSON: class names, what the input is.

    Returns:
        The largest difference between the network's logits and those that onnxruntime gets from the file.

    Raises:
        GanvasError: if a package is missing, the network cannot be written, or the two differ.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise GanvasError(f"ONNX needs {' and '.join(missing)}, not installed: `pip install 'ganvas[onnx]'`.")
    # Not zeros: a file that forgot its input would agree on those.
    images = torch.rand(CHECKED, network.in_channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with atomic_path(path) as temporary:
        _export(network, images[:2], temporary, about)
        difference = _difference(network, images, temporary)
        if not difference <= TOLERANCE:  # NaN is not, either
            raise GanvasError(f"{path} is not kept: onnxruntime's logits differ from the network's by "
                              f"{difference:.2g}, more than {TOLERANCE:g}.")  # fmt: skip
    return difference


def _export(network: nn.Module, images: Tensor, path: Path, about: dict[str, Any]) -> None:
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            network, (images,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), verbose=False,
        )  # fmt: skip
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "ganvas", json.dumps(about)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


@torch.inference_mode()
def _difference(network: nn.Module, images: Tensor, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
    return float(np.abs(found - network(images).numpy()).max())
