"""Codes out of every file that people have, and a sentence for those that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latent_files import read_codes
from networks.checkpoints.latents import save_latent
from networks.latent import Latent
from networks.stylegan2 import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16).eval().requires_grad_(False)
    G.hash = "a" * 64
    return G


def codes(generator: Generator) -> torch.Tensor:
    return generator.sample(3, seed=1).tensors["ws"]


def test_all_files_give_the_same_codes(generator: Generator, tmp_path: Path) -> None:
    ws = codes(generator)
    save_latent(tmp_path / "bundle.safetensors", generator.sample(3, seed=1), ["a", "b", "c"])
    save_file({"latents": ws}, tmp_path / "plain.safetensors")
    np.savez(tmp_path / "projected.npz", w=ws.double().numpy(), loss=np.zeros(3))
    np.savez(tmp_path / "in_w.npz", w=ws[:, 0].numpy())
    torch.save(ws, tmp_path / "bare.pt")
    torch.save({"latents": ws, "step": 3}, tmp_path / "dict.pt")
    for path in sorted(tmp_path.iterdir()):
        found, names = read_codes(path, generator)
        torch.testing.assert_close(found.tensors["ws"], ws)
        assert (found.space, found.generator_hash) == ("w+", "a" * 64)
        assert names == (("a", "b", "c") if path.name == "bundle.safetensors" else ())


def test_a_list_is_styles_in_their_order(generator: Generator, tmp_path: Path) -> None:
    styles = generator.in_styles(generator.sample(3, seed=1))
    torch.save([x[:, None, :, None, None] for x in styles.tensors.values()], tmp_path / "s.pt")
    found, _ = read_codes(tmp_path / "s.pt", generator)
    assert found.space == "s"
    torch.testing.assert_close(generator.render(found), generator.render(styles))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path, ws: None, "there is no file"),
        (lambda path, ws: torch.save(ws[:, :4], path), r"have ws \[4, 8\], and this generator's are \[8, 8\]"),
        (lambda path, ws: torch.save(ws[..., :4], path), r"have ws \[8, 4\]"),
        (lambda path, ws: torch.save(ws[None], path), r"holds \[1, 3, 8, 8\]: codes are"),
        (lambda path, ws: torch.save(ws * torch.tensor([1, torch.inf, 1])[:, None, None], path), "code 1 in .* finite"),
        (lambda path, ws: torch.save([ws[:, 0]] * 3, path), "holds 3 styles, and this generator has 11"),
        (lambda path, ws: torch.save([torch.tensor(1.0)] * 11, path), r"a style of shape \[\]: each is"),
        (lambda path, ws: torch.save([ws[0, 0]] * 11, path), r"a style of shape \[8\]: each is"),
        (lambda path, ws: torch.save([ws[: i + 1, 0] for i in range(11)], path), "not of as many images"),
        (lambda path, ws: torch.save({"a": ws, "b": ws}, path), "holds no codes called ws, w, latents, codes"),
        (lambda path, ws: torch.save(print, path), "asks for print, for which codes has no use"),
        (lambda path, ws: path.write_bytes(b"nonsense"), "cannot be read as a PyTorch checkpoint"),
        (lambda path, ws: save_latent(path.with_suffix(".safetensors"), Latent("w+", {"ws": ws}, None, "b" * 64)),
         "belong to generator bbbbbbbbbbbb, not to aaaaaaaaaaaa"),
        (lambda path, ws: save_latent(path.with_suffix(".safetensors"), Latent("w", {"w": ws[:, 0]})), "are in w, and"),
        (lambda path, ws: path.with_suffix(".npz").write_bytes(b"PK"), "cannot be read as arrays"),
        (lambda path, ws: path.with_suffix(".txt").write_text("1 2 3"), "must end in .safetensors, .npz, .pt"),
        (lambda path, ws: path.with_suffix(".safetensors").write_bytes(b"{}"), "cannot be read as safetensors"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_one_sentence(write, says: str, generator: Generator, tmp_path: Path) -> None:
    path = tmp_path / "codes.pt"
    write(path, codes(generator))
    path = next(iter(tmp_path.iterdir()), path)
    with pytest.raises(GanvasError, match=says):
        read_codes(path, generator)
