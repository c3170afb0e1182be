"""CLIPs of ``transformers`` from a folder, or from a hub where somebody names one there."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError, GanvasWarning
from networks.clip.identity import ClipIdentity
from networks.clip.model import ClipModel
from networks.clip.optional import offline, optional_module
from networks.clip.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing, checked_preprocessing
from networks.clip.probe import check_fit

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
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
        with offline(local), _quiet(library):
            model, loaded = library.AutoModel.from_pretrained(folder, local_files_only=local, output_loading_info=True)
            model = model.float()
            tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=local)
    except Exception as error:   # whatever foreign files can make the library raise
        reason = str(error).strip().split("\n")[0].rstrip(".:")
        raise GanvasError(f"transformers cannot load a CLIP from {folder}: {reason}; give the folder that "
                          "save_pretrained of the model and its tokenizer wrote.") from error  # fmt: skip
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        kind = type(model).__name__
        raise GanvasError(f"{folder} holds a {kind}, which does not compare images with texts: give a CLIP.")
    if lacking := sorted({*loaded["missing_keys"], *(entry[0] for entry in loaded["mismatched_keys"])}):
        raise GanvasError(f"the weights of {folder} lack {lacking[0]} or have it in another shape ({len(lacking)} such "
                          "in all), so a part of the CLIP would be random: get its files again.")  # fmt: skip
    model = model.eval().requires_grad_(False)
    prepared = _preprocessing(library, folder, model, legacy)
    identity = ClipIdentity("transformers", Path(folder).name, tensors_hash(model.state_dict()), prepared.to_json())
    towers = _ImageTower(model), _TextTower(model, tokenizer)
    clip = ClipModel(identity, towers[1].encode(["a"]).shape[1], prepared, *towers)
    own = folder if local else "a copy on your disk and give that folder"
    check_fit(clip, model, f"set hidden_act in config.json of {own}", f"set them in {PREPROCESSOR} of {own}")
    return clip


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Within it the library prints no table of what it did not find: that is said in a sentence."""
    before = library.logging.get_verbosity()
    library.logging.set_verbosity_error()
    try:
        yield
    finally:
        library.logging.set_verbosity(before)


def _preprocessing(library: ModuleType, folder: str, model: nn.Module, legacy: bool) -> Preprocessing:
    """Mean and deviation as its files say them, CLIP's own where they say nothing; the size that the model takes."""
    said, source = _said(library, folder)
    if not {"image_mean", "image_std"} <= said.keys():
        warnings.warn(f"{source} says no mean and deviation of images, so those of OpenAI's CLIP are taken: if "
                      f"it was trained with others, write image_mean and image_std into {PREPROCESSOR} of its folder.",
                      GanvasWarning, stacklevel=4)  # fmt: skip
    mean, std = said.get("image_mean", OPENAI_MEAN), said.get("image_std", OPENAI_STD)
    size = getattr(getattr(model.config, "vision_config", None), "image_size", None)
    return checked_preprocessing(size, mean, std, legacy, source)


def _said(library: ModuleType, folder: str) -> tuple[dict[str, Any], str]:
    """What a folder, or a model on a hub or in its cache, says of images; {} where it says nothing. And what says it.

    Raises:
        GanvasError: if that file is damaged.
    """
    for name in (PREPROCESSOR, PROCESSOR):   # newer versions write the second, with more in it
        try:
            with offline(Path(folder).is_dir()):
                file = library.utils.cached_file(folder, name)
        except OSError:   # none is there; or no network, and none in the cache
            continue
        source = f"{folder}/{name}"
        try:
            said = json.loads(Path(file).read_text())
        except ValueError as error:
            raise GanvasError(f"{source} is damaged ({error}): get it again.") from error
        if name == PROCESSOR and isinstance(said, dict):
            said = said.get("image_processor", {})
        if not isinstance(said, dict):
            raise GanvasError(f"{source} holds no settings by name: get it again.")
        return said, source
    return {}, folder


def _embedding(found: Any) -> Tensor:
    """The embedding, which transformers 5 gives as one of several outputs, and 4 alone."""
    return found if isinstance(found, Tensor) else found.pooler_output
