"""CLIPs of ``open_clip`` (Cherti et al. 2023, arXiv 2212.07143) from a file, a folder, or a tag that it downloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.clip.identity import ClipIdentity
from networks.clip.model import ClipModel
from networks.clip.optional import offline, optional_module
from networks.clip.preprocess import checked_preprocessing
from networks.clip.probe import check_fit

FOLDER = "local-dir"   # open_clip's word for a model in a folder with its configuration
CONFIG = "open_clip_config.json"   # which lies there


class _ImageTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual = model.visual

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images)


class _TextTower(nn.Module):
    """open_clip's own text side; kept whole, since architectures differ in what belongs to it."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self._model, self._tokenizer = model, tokenizer
        self.context = int(model.context_length)

    def length(self, text: str) -> int:
        if hasattr(self._tokenizer, "encode"):                       # open_clip's own: without the first and the last
            return len(self._tokenizer.encode(text)) + 2
        return len(self._tokenizer.tokenizer(text)["input_ids"])     # one of transformers, wrapped

    def unknown(self, text: str) -> tuple[list[str], int]:
        return [], len(text.split())   # it reads bytes: no word is unknown to its vocabulary

    def encode(self, texts: Sequence[str]) -> Tensor:
        device = next(self._model.parameters()).device
        return self._model.encode_text(self._tokenizer(list(texts)).to(device))


def load_open_clip(model: str, weights: str, legacy: bool = False) -> ClipModel:
    """A CLIP of ``open_clip``.

    Args:
        model: an architecture of ``open_clip.list_models()``, or ``local-dir``.
        weights: a file (``.pt``, ``.safetensors``); a tag, which open_clip downloads if it is not in its cache; of
            ``local-dir`` a folder with ``open_clip_config.json``.
        legacy: hand images over as the original StyleCLIP did.

    Raises:
        GanvasError: if the package, the architecture or the weights are missing, or do not fit one another.
    """
    library = optional_module("open_clip", "open_clip_torch")
    _check(library, model, weights)
    name, source = (f"{FOLDER}:{weights}", None) if model == FOLDER else (model, weights)
    tag = not Path(weights).exists()
    try:
        with offline(not tag):
            network = library.create_model(name, source, precision="fp32", require_pretrained=True)
            tokenizer = library.get_tokenizer(name)
    except Exception as error:   # asserts, pickles, hubs: whatever a foreign file can make the library raise
        reason = str(error).strip().split("\n")[0]
        raise GanvasError(f"open_clip cannot load {weights} as {model}: {reason}; check that the file belongs to this "
                          "architecture.") from error  # fmt: skip
    network = network.eval().requires_grad_(False)
    said = library.get_model_preprocess_cfg(network)
    source = f"{weights}/{CONFIG}" if model == FOLDER else f"open_clip's set-up of {model} with {weights}"
    prepared = checked_preprocessing(said["size"], said["mean"], said["std"], legacy, source)
    label = Path(weights).name if model == FOLDER else model
    identity = ClipIdentity("open_clip", label, tensors_hash(network.state_dict()), prepared.to_json())
    with torch.no_grad():
        dim = network.encode_text(tokenizer(["a"])).shape[1]
    clip = ClipModel(identity, dim, prepared, _ImageTower(network), _TextTower(network, tokenizer))
    check_fit(clip, network, *_mends(model, weights))
    return clip


def _mends(model: str, weights: str) -> tuple[str, str]:
    """How people give a CLIP another activation, and another mean and deviation."""
    if model == FOLDER:
        return f"set quick_gelu in model_cfg of {weights}/{CONFIG}", f"set them in preprocess_cfg of {weights}/{CONFIG}"
    bare = model.removesuffix("-quickgelu")
    other = bare if bare != model else f"{model}-quickgelu"
    return (f"name the architecture {other} in place of {model}, where open_clip has it",
            f"give open_clip:{FOLDER}:FOLDER, with them in preprocess_cfg of FOLDER/{CONFIG}")  # fmt: skip


def _check(library: ModuleType, model: str, weights: str) -> None:
    if model == FOLDER:
        if not (Path(weights) / CONFIG).is_file():
            raise GanvasError(f"there is no {weights}/{CONFIG}: give the folder that a model of open_clip "
                              "was saved to.")  # fmt: skip
        return
    if model not in library.list_models():
        raise GanvasError(f"open_clip has no architecture {model!r}: choose one of open_clip.list_models(), such as "
                          "ViT-B-32.")  # fmt: skip
    if Path(weights).is_dir():
        raise GanvasError(f"{weights} is a folder: give the file of the weights inside it, or "
                          f"open_clip:{FOLDER}:{weights}.")  # fmt: skip
    tags = library.list_pretrained_tags_by_model(model)
    if not Path(weights).is_file() and weights not in tags:
        raise GanvasError(f"there is no file {weights}, and open_clip knows {model} by the tags "
                          f"{', '.join(tags) or '(none)'}: give one of these or a file.")  # fmt: skip
