"""CLIPs of open_clip and transformers: tiny random ones give what their libraries give, and what is amiss is said."""

from __future__ import annotations

import importlib
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError, GanvasWarning
from networks.clip import ClipModel, Preprocessing, load_clip
from networks.clip.optional import offline, optional_module
from networks.clip.probe import COLOURS, QuickGELU, agreement, check_fit
from tests.clips import tiny_clip

TINY = {
    "embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip
SAID = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
UNTRAINED = pytest.mark.filterwarnings("ignore:.*does not know plain colours", "ignore:.*says no mean and deviation")


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder of files, whether the target is there or not."""
    return shutil.copytree(source, target, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def open_clip() -> ModuleType:
    return optional_module("open_clip", "open_clip_torch")


@pytest.fixture(scope="module")
def weights(open_clip: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights of an architecture of which open_clip knows only here."""
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "ganvas-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("ganvas-tiny").state_dict(), folder / "weights.pt")
    yield folder / "weights.pt"
    open_clip.factory._MODEL_CONFIGS.pop("ganvas-tiny")


@UNTRAINED
def test_open_clip_gives_what_open_clip_gives(open_clip: ModuleType, weights: Path) -> None:
    clip = load_clip(f"open_clip:ganvas-tiny:{weights}")
    theirs = open_clip.create_model("ganvas-tiny", str(weights)).eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(
        clip.encode_images(images), theirs.encode_image(clip.preprocessing(images), normalize=True)
    )
    tokens = open_clip.get_tokenizer("ganvas-tiny")(["a red cat"])
    torch.testing.assert_close(clip.encode_texts(["a red cat"]), theirs.encode_text(tokens, normalize=True))
    assert (clip.dim, clip.resolution) == (16, 32)
    assert clip.identity.preprocessing["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    with pytest.raises(GanvasError, match="tokens, and ganvas-tiny reads 16"):
        clip.encode_texts(["word " * 20])


@UNTRAINED
def test_a_folder_of_open_clip_says_its_own_mean(open_clip: ModuleType, weights: Path, tmp_path: Path) -> None:
    said = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said))
    torch.save(torch.load(weights), tmp_path / "open_clip_pytorch_model.bin")
    folder, file = (load_clip(f"open_clip:{spec}") for spec in (f"local-dir:{tmp_path}", f"ganvas-tiny:{weights}"))
    assert folder.identity.preprocessing["std"] == [1, 1, 1]
    assert folder.identity.weights == file.identity.weights
    assert folder.identity != file.identity


@pytest.mark.parametrize(("model", "prepared", "sentence"), [
    ({}, {"mean": [0.5]}, r"open_clip_config.json says \[0.5\] for the mean of images: write three numbers there"),
    ({}, {"mean": ["a", "b", "c"]}, r"says \['a', 'b', 'c'\] for the mean"),
    ({}, {"std": [0, 0, 0]}, "for the deviation of images: write three numbers above 0"),
    ({}, {"mean": [float("nan")] * 3}, r"says \[nan, nan, nan\] for the mean"),
    ({"image_size": [32, 64]}, {}, r"images are \[32, 64\] pixels large, and only squares"),
])  # fmt: skip
def test_a_damaged_set_up_of_open_clip_is_one_sentence(
    model: dict, prepared: dict, sentence: str, open_clip: ModuleType, tmp_path: Path
) -> None:
    said = {"model_cfg": {**TINY, "vision_cfg": TINY["vision_cfg"] | model}, "preprocess_cfg": prepared}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said))
    torch.save(open_clip.CLIP(**said["model_cfg"]).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(GanvasError, match=sentence):
        load_clip(f"open_clip:local-dir:{tmp_path}")


@UNTRAINED
def test_weights_that_are_no_numbers_are_refused(weights: Path, folder: Path, tmp_path: Path) -> None:
    state = torch.load(weights)
    state["visual.proj"][0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(GanvasError, match="gives features that are no numbers: its weights are damaged"):
        load_clip(f"open_clip:ganvas-tiny:{tmp_path / 'nan.pt'}")
    copy = copied(folder, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    tensors["text_projection.weight"][0, 0] = torch.nan
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(GanvasError, match="gives features that are no numbers"):
        load_clip(f"transformers:{copy}")


@UNTRAINED
def test_legacy_is_another_identity(weights: Path) -> None:
    clip = load_clip(f"open_clip:ganvas-tiny:{weights}", legacy=True)
    assert clip.identity.preprocessing["legacy"]
    images = torch.rand(1, 3, 32, 32)
    assert clip.preprocessing(images).equal(images)


@pytest.mark.parametrize(("spec", "sentence"), [
    ("open_clip:ganvas-tiny:missing.pt", "there is no file missing.pt"),
    ("open_clip:no-such-model:x.pt", "has no architecture 'no-such-model'"),
    ("open_clip:ganvas-tiny:FOLDER", "is a folder: give the file"),
    ("open_clip:local-dir:FOLDER", "open_clip_config.json: give the folder"),
    ("open_clip:ganvas-tiny:FOLDER/junk.pt", "cannot load .*junk.pt as ganvas-tiny"),
    ("open_clip:ViT-S-32-alt:WEIGHTS", "as ViT-S-32-alt: .* belongs to this architecture"),
])  # fmt: skip
def test_what_open_clip_cannot_load_is_one_sentence(spec: str, sentence: str, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(GanvasError, match=sentence):
        load_clip(spec.replace("FOLDER", str(tmp_path)).replace("WEIGHTS", str(weights)))


# --- transformers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP of transformers with a vocabulary of a few words."""
    library = optional_module("transformers", "transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    path = tmp_path_factory.mktemp("transformers") / "tiny"
    words = ["<s>", "</s>", "<unk>", "a", "red", "cat", "plain", "picture"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    ).save_pretrained(path)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1,
            "pad_token_id": 1}  # fmt: skip
    vision = {**tower, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    library.CLIPModel(
        library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    ).save_pretrained(path)
    return path


@UNTRAINED
def test_transformers_gives_what_transformers_gives(folder: Path) -> None:
    library = optional_module("transformers", "transformers")
    clip, theirs = load_clip(f"transformers:{folder}"), library.CLIPModel.from_pretrained(folder).eval()
    images, texts = torch.rand(2, 3, 64, 64) * 2 - 1, ["a red cat", "a picture"]
    tokens = library.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = theirs(pixel_values=clip.preprocessing(images), **tokens)
    torch.testing.assert_close(clip.encode_images(images), found.image_embeds)
    torch.testing.assert_close(clip.encode_texts(texts), found.text_embeds)
    assert (clip.dim, clip.resolution) == (8, 32)
    with pytest.raises(GanvasError, match="has 22 tokens, and tiny reads 12"):
        clip.encode_texts(["red " * 20])


@UNTRAINED
def test_a_folder_of_transformers_says_its_own_mean(folder: Path, tmp_path: Path) -> None:
    copied(folder, tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": SAID}))   # as newer versions save it
    assert load_clip(f"transformers:{tmp_path}").identity.preprocessing["mean"] == [0.5, 0.5, 0.5]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**SAID, "image_mean": [0.25, 0.5, 0.5]}))
    assert load_clip(f"transformers:{tmp_path}").identity.preprocessing["mean"] == [0.25, 0.5, 0.5]


@UNTRAINED
@pytest.mark.parametrize("said", [{}, SAID])
def test_a_model_on_a_hub_says_its_own_mean(
    said: dict, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit, cache = "0" * 40, tmp_path / "models--owner--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    kept = copied(folder, cache / "snapshots" / commit)
    if not said:
        with pytest.warns(GanvasWarning, match="owner/tiny says no mean and deviation of images"):
            load_clip("transformers:owner/tiny")
        return
    (kept / "preprocessor_config.json").write_text(json.dumps(said))
    assert load_clip("transformers:owner/tiny").identity.preprocessing["mean"] == said["image_mean"]


@pytest.mark.parametrize(("text", "sentence"), [
    ("{broken", "preprocessor_config.json is damaged .*: get it again"),
    ("[1, 2]", "preprocessor_config.json holds no settings by name"),
    (json.dumps({**SAID, "image_mean": None}), "says None for the mean of images: write three numbers"),
    (json.dumps({**SAID, "image_mean": [0.5]}), r"says \[0.5\] for the mean"),
    (json.dumps({**SAID, "image_mean": "abc"}), "says 'abc' for the mean"),
    (json.dumps({**SAID, "image_mean": [10**400] * 3}), r"says \[1000.*\.\.\. for the mean"),
    (json.dumps({**SAID, "image_std": [0.5, 0.5, 0]}), "for the deviation of images: write three numbers above 0"),
])  # fmt: skip
def test_a_damaged_preprocessor_is_one_sentence(text: str, sentence: str, folder: Path, tmp_path: Path) -> None:
    (copied(folder, tmp_path) / "preprocessor_config.json").write_text(text)
    with pytest.raises(GanvasError, match=sentence):
        load_clip(f"transformers:{tmp_path}")


@UNTRAINED
@pytest.mark.parametrize("shape", [None, (3, 16)])
def test_weights_that_lack_a_part_are_refused(shape: tuple | None, folder: Path, tmp_path: Path) -> None:
    tensors = load_file(copied(folder, tmp_path) / "model.safetensors")
    del tensors["visual_projection.weight"]
    if shape:
        tensors["visual_projection.weight"] = torch.zeros(shape)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(GanvasError, match=r"(?s)(lack|cannot load a CLIP from)") as caught:
        load_clip(f"transformers:{tmp_path}")
    assert shape or "lack visual_projection.weight" in str(caught.value)


def test_what_transformers_cannot_load_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="there is no folder /no/such/folder"):
        load_clip("transformers:/no/such/folder")
    with pytest.raises(GanvasError, match="transformers cannot load a CLIP from"):
        load_clip(f"transformers:{tmp_path}")
    library = optional_module("transformers", "transformers")
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    library.BertModel(library.BertConfig(**small, vocab_size=9)).save_pretrained(tmp_path)
    for file in folder.glob("token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(GanvasError, match="holds a BertModel, which does not compare images with texts"):
        load_clip(f"transformers:{tmp_path}")


# --- both


def test_a_missing_package_is_one_sentence() -> None:
    with pytest.raises(GanvasError, match="needs the package no-such-thing: run `pip install no-such-thing`"):
        optional_module("no_such_module", "no-such-thing")


def test_nothing_is_fetched_where_a_path_was_given() -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    with offline():
        assert constants.HF_HUB_OFFLINE
    assert before == constants.HF_HUB_OFFLINE


# --- whether a set-up fits


class Colours:
    """A text tower that knows the names of the plain colours, each by a direction of its own."""

    context = 8

    def length(self, text: str) -> int:
        return len(text.split())

    def unknown(self, text: str) -> tuple[list[str], int]:
        return [], 1

    def encode(self, texts: list[str]) -> torch.Tensor:
        names = list(COLOURS)
        return torch.eye(len(names))[[names.index(text.split()[2]) for text in texts]]


class Tower(torch.nn.Module):
    """An image tower that sees nothing but what QuickGELU and GELU differ by."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.activation, self.last = torch.nn.Linear(12, 32), QuickGELU(), torch.nn.Linear(32, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.first(images.flatten(1))
        return self.last(50 * (self.activation(x) - F.gelu(x)))


@pytest.fixture
def trained() -> ClipModel:
    """A CLIP that knows plain colours by that tower, shown in [0, 1]."""
    torch.manual_seed(0)
    tower, preprocessing = Tower(), Preprocessing(2, (0.0,) * 3, (1.0,) * 3)
    optimizer, own = torch.optim.Adam(tower.parameters(), 0.02), torch.arange(8)
    colours = torch.tensor(list(COLOURS.values())) / 127.5 - 1
    images = preprocessing(colours[:, :, None, None].expand(-1, -1, 2, 2))
    for _ in range(150):
        loss = F.cross_entropy(20 * F.normalize(tower(images), dim=1), own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    identity = replace(tiny_clip().identity, preprocessing=preprocessing.to_json())
    return ClipModel(identity, 8, preprocessing, tower, Colours())


def test_what_fits_is_not_warned_of(trained: ClipModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_fit(trained, trained, "mend A", "mend M")


def test_a_wrong_activation_is_seen_in_the_data(trained: ClipModel) -> None:
    trained.image_tower.activation = torch.nn.GELU()
    with pytest.warns(UserWarning, match="better with the activation QuickGELU .* trained so, mend A"):
        check_fit(trained, trained, "mend A", "mend M")
    assert type(trained.image_tower.activation) is torch.nn.GELU   # left as it was


def test_a_wrong_mean_is_seen_in_the_data(trained: ClipModel) -> None:
    good = agreement(trained, trained.preprocessing)
    trained.preprocessing = Preprocessing(2)
    assert agreement(trained, trained.preprocessing) < good
    with pytest.warns(UserWarning, match="better with mean 0 and deviation 1 .* trained so, mend M"):
        check_fit(trained, trained, "mend A", "mend M")


def test_weights_that_know_nothing_are_said_to(trained: ClipModel) -> None:
    torch.nn.init.normal_(trained.image_tower.first.weight)
    with pytest.warns(UserWarning, match="untrained, or fit another architecture"):
        check_fit(trained, trained, "mend A", "mend M")
