"""CLIPs of ``transformers`` from a folder, or from a hub where somebody names one there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.clip.identity import ClipIdentity
from networks.clip.model import ClipModel
from networks.clip.optional import offline, optional_module
from networks.clip.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing, square, triple
from networks.clip.probe import warn_if_unfit

_ON_A_HUB = re.compile(r"[\w.-]+/[\w.-]+")


class _ImageTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return _embedding(self.model.get_image_features(pixel_values=images))


class _TextTower(nn.Module):
    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self._model, self._tokenizer = model, tokenizer
        self.context = int(model.config.text_config.max_position_embeddings)

    def length(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def unknown(self, text: str) -> tuple[list[str], int]:
        return [], len(text.split())   # it reads bytes: no word is unknown to its vocabulary

    def encode(self, texts: Sequence[str]) -> Tensor:
        # To full length, which some models need (SigLIP) and the others mask.
        tokens = self._tokenizer(list(texts), padding="max_length", max_length=self.context, return_tensors="pt")
        return _embedding(self._model.get_text_features(**tokens.to(self._model.device)))


def load_transformers_clip(folder: str, legacy: bool = False) -> ClipModel:
    """A CLIP of ``transformers``.

    Args:
        folder: with ``config.json``, the weights and the tokenizer's files; or a name on a hub, ``owner/model``, which
            is downloaded if it is not in its cache. A folder that is there always comes first.
        legacy: hand images over as the original StyleCLIP did.

    Raises:
        GanvasError: if the package or the folder is missing, or it holds no CLIP.
    """
    library = optional_module("transformers", "transformers")
    local = Path(folder).is_dir()
    if not local and not _ON_A_HUB.fullmatch(folder):
        raise GanvasError(f"there is no folder {folder}: give one that holds a CLIP of transformers, or a hub's name.")
    try:
        with offline(local):
            model = library.AutoModel.from_pretrained(folder, local_files_only=local).float()
            tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=local)
    except Exception as error:   # whatever foreign files can make the library raise
        reason = str(error).strip().split("\n")[0].rstrip(".:")
        raise GanvasError(f"transformers cannot load a CLIP from {folder}: {reason}; give the folder that "
                          "save_pretrained of the model and its tokenizer wrote.") from error  # fmt: skip
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        kind = type(model).__name__
        raise GanvasError(f"{folder} holds a {kind}, which does not compare images with texts: give a CLIP.")
    model = model.eval().requires_grad_(False)
    prepared = _preprocessing(Path(folder), model, legacy)
    identity = ClipIdentity("transformers", Path(folder).name, tensors_hash(model.state_dict()), prepared.to_json())
    towers = _ImageTower(model), _TextTower(model, tokenizer)
    clip = ClipModel(identity, towers[1].encode(["a"]).shape[1], prepared, *towers)
    warn_if_unfit(clip, model)
    return clip


def _preprocessing(folder: Path, model: nn.Module, legacy: bool) -> Preprocessing:
    """Mean and deviation as the folder says them, CLIP's own where it says nothing; the size that the model takes."""
    file = folder / "preprocessor_config.json"
    said = json.loads(file.read_text()) if file.is_file() else {}
    mean, std = said.get("image_mean", OPENAI_MEAN), said.get("image_std", OPENAI_STD)
    return Preprocessing(square(model.config.vision_config.image_size), triple(mean), triple(std), legacy)


def _embedding(found: Any) -> Tensor:
    """The embedding, which transformers 5 gives as one of several outputs, and 4 alone."""
    return found if isinstance(found, Tensor) else found.pooler_output
