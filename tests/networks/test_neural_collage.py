"""Held against neural-collage's own classes: names, shapes, numbers of its snapshots (neural_collage.json says how)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from editors.invert import InversionSettings, invert
from launch import cli
from networks.checkpoints.bundle import read_manifest, tensors_hash
from networks.checkpoints.encoders import load_encoder, save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import NetworkMissingError
from networks.checkpoints.generators import (
    find_discriminator,
    load_discriminator,
    load_foreign,
    load_generator,
    save_generator,
    stored_tensors,
)
from networks.collage import Collage, Pasted, Region, Repainted, render_collage
from networks.latent import Latent

ORIGINAL = json.loads(Path(__file__).with_name("neural_collage.json").read_text())
K = ORIGINAL["classes"]


def arrays(network: str) -> dict[str, np.ndarray]:
    """The weights that the numbers were made with."""
    found: dict[str, np.ndarray] = {}
    for i, (name, shape) in enumerate(sorted(ORIGINAL[network]["shapes"].items())):
        if name.endswith("/N"):
            found[name] = np.array(0)
            continue
        value = np.sin(0.7 * np.arange(int(np.prod(shape))) + i)
        table = name.endswith(("gammas/W", "betas/W"))
        if name.endswith("/W") and not table:
            value *= 0.7 / np.sqrt(len(value) // shape[0])
        if name.endswith(("avg_var", "gammas/W", "/gamma")):
            value = 1 + 0.5 * value
        found[name] = value.reshape(shape).astype(np.float32)
    return found


def snapshot(folder: Path, network: str, **changed: np.ndarray | None) -> Path:
    """An ``.npz`` as Chainer writes it; ``changed`` exchanges or leaves out arrays, ``/`` in names being ``__``."""
    stored = {**arrays(network), **{name.replace("__", "/"): value for name, value in changed.items()}}
    path = folder / f"{network}.npz"
    np.savez_compressed(path, **{name: value for name, value in stored.items() if value is not None})
    return path


def few(x: Tensor, n: int) -> Tensor:
    """As the numbers were taken."""
    flat = x.flatten()
    return flat[:: max(1, len(flat) // n)][:n]


def images(size: int) -> Tensor:
    return torch.cos(0.01 * torch.arange(2 * 3 * size * size, dtype=torch.float64)).float().reshape(2, 3, size, size)


@pytest.fixture(scope="module", params=["G128", "G256"])
def generator(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, dict]:
    path = snapshot(tmp_path_factory.mktemp("chainer"), request.param)
    return load_foreign(path), ORIGINAL[request.param]


def drawn(size: int) -> tuple[Latent, Tensor]:
    z = torch.sin(torch.arange(8.0)).reshape(2, 4)
    mask = torch.zeros(2, size, size)
    mask[:, :, : round(0.375 * size)] = 1
    return Latent("z", {"z": z}, torch.eye(K)[[0, 0]]), mask


def test_the_snapshot_s_names_are_the_releases() -> None:
    counts = {name: len(ORIGINAL[name]["shapes"]) for name in ("G256", "G128", "D256", "D128")}
    assert counts == {"G256": 105, "G128": 89, "D256": 65, "D128": 56}


def test_classes_are_drawn_as_the_original_draws_them(generator) -> None:
    G, original = generator
    assert G.img_resolution == original["resolution"]
    latent, mask = drawn(G.img_resolution)
    plain = G.render(Latent("z", latent.tensors, torch.eye(K)[[1, 1]]))
    torch.testing.assert_close(few(plain, 40), torch.tensor(original["plain"]), rtol=0, atol=5e-5)
    image = render_collage(G, latent, Collage([Repainted(Region(mask), torch.eye(K)[[1, 1]])]))
    torch.testing.assert_close(few(image, 40), torch.tensor(original["scbn"]), rtol=0, atol=5e-5)
    assert image.mean().item() == pytest.approx(original["scbn_mean"], abs=5e-5)
    assert image.std(correction=0).item() == pytest.approx(original["scbn_std"], abs=5e-5)


def test_features_are_blended_as_the_original_blends_them(generator) -> None:
    G, original = generator
    latent, mask = drawn(G.img_resolution)
    right = torch.zeros(1, G.img_resolution, G.img_resolution)
    right[:, :, G.img_resolution // 2 :] = 1
    painted = [Repainted(Region(mask[:1]), torch.eye(K)[[1]])]
    pasted = Pasted(Region(right, layers={"l1": 1.0, "block3": 0.5}, others=0.0), latent[1], painted)
    image = render_collage(G, latent[0], Collage(painted, [pasted]))
    torch.testing.assert_close(few(image, 40), torch.tensor(original["blend"]), rtol=0, atol=5e-5)


@pytest.mark.parametrize("network", ["D128", "D256"])
def test_discriminators_score_and_see_as_the_original_s(network: str, tmp_path: Path) -> None:
    D, original = load_foreign(snapshot(tmp_path, network), "D"), ORIGINAL[network]
    x = images(D.img_resolution)
    logits = D(x, torch.eye(K)[[2, 0]]).flatten()
    torch.testing.assert_close(logits, torch.tensor(original["logits"]), rtol=1e-5, atol=1e-5)
    features = D.features(x)[D.blocks[-1]]
    torch.testing.assert_close(few(features, 40), torch.tensor(original["features"]), rtol=1e-5, atol=1e-5)
    assert features.norm().item() == pytest.approx(original["features_norm"], rel=1e-5)
    assert torch.equal(D(x, torch.eye(K)[[2, 0]]).flatten(), logits)   # seeing leaves no trace, unlike there


@pytest.mark.parametrize("network", ["E128", "E256"])
def test_encoders_say_what_the_original_s_say(network: str, tmp_path: Path) -> None:
    G = load_foreign(snapshot(tmp_path, "G128"))
    encoder, original = load_encoder(snapshot(tmp_path, network), G), ORIGINAL[network]
    x, label = images(original["resolution"]), torch.eye(K)[[2, 0]]
    torch.testing.assert_close(encoder(x, label), torch.tensor(original["codes"]), rtol=1e-5, atol=1e-5)
    twice = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(encoder(twice, label), encoder(x, label))
    with pytest.raises(ValueError, match="must be"):
        encoder(x[..., 1:, 1:], label)


def test_an_encoder_begins_the_inversion_of_its_generator(tmp_path: Path) -> None:
    G = load_generator(save_generator(tmp_path / "g.safetensors", load_foreign(snapshot(tmp_path, "G128")), {}))
    encoder = load_encoder(snapshot(tmp_path, "E128"), G)
    save_encoder(tmp_path / "e.safetensors", encoder, G.hash, {})
    photo, settings = G.render(G.sample(2, seed=1)), InversionSettings(steps=0, samples=6, pixel=1.0, delta=0.0)
    given = invert(G, photo, replace(settings, label="2"))
    assert torch.equal(given.latent.label, torch.eye(K)[[2, 2]])
    torch.testing.assert_close(given.latent.tensors["z"], encoder(photo.clamp(-1, 1), given.latent.label))
    found = invert(G, photo, replace(settings, starts=1))
    torch.testing.assert_close(found.latent.tensors["z"], encoder(photo.clamp(-1, 1), found.latent.label))
    each = [invert(G, photo, replace(settings, label=str(k))) for k in range(K)]
    loss = torch.stack([4 * 10 ** (-one.psnr / 10) + 0.1 * one.distance for one in each])
    assert torch.equal(found.latent.label.argmax(1), loss.argmin(0))


def test_both_become_bundles_and_come_back(tmp_path: Path) -> None:
    G, D = load_foreign(snapshot(tmp_path, "G128")), load_foreign(snapshot(tmp_path, "D128"), "D")
    assert G.hash == tensors_hash(stored_tensors(G))
    assert load_generator(save_generator(tmp_path / "g.safetensors", G, {})).hash == G.hash
    again = load_discriminator(save_generator(tmp_path / "d.safetensors", D, {}))
    assert torch.equal(again(images(128), torch.eye(K)[[0, 1]]), D(images(128), torch.eye(K)[[0, 1]]))


def test_the_auxiliary_networks_of_projection_are_left_out(tmp_path: Path) -> None:
    more = {"lA1__W": np.zeros((9, 4), np.float32), "preluW__W": np.zeros(4, np.float32)}
    assert load_foreign(snapshot(tmp_path, "G128", **more)).hash == load_foreign(snapshot(tmp_path, "G128")).hash


def test_ganvas_convert_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whose = f"generator={tmp_path / 'G128.safetensors'}"
    for network, words in (("G128", ["check=true"]), ("D128", ["network=D", whose])):
        source, out = snapshot(tmp_path, network), tmp_path / f"{network}.safetensors"
        assert cli.main(["convert", f"source={source}", f"out={out}", *words]) == cli.OK
    assert "image_std: " in capsys.readouterr().out
    owner, out = tmp_path / "G128.safetensors", tmp_path / "e.safetensors"
    assert load_generator(owner).c_dim == K
    assert find_discriminator(load_generator(owner)).hash == read_manifest(tmp_path / "D128.safetensors")["hash"]
    words = [f"source={snapshot(tmp_path, 'E128')}", f"out={out}", f"generator={owner}", "check=true"]
    assert cli.main(["convert", *words]) == cli.OK
    assert "psnr of samples: " in capsys.readouterr().out
    assert torch.equal(load_encoder(out, load_generator(owner)).last.bias, torch.as_tensor(arrays("E128")["l7/b"]))


def test_other_files_are_refused(tmp_path: Path) -> None:
    object_array = tmp_path / "objects.npz"
    np.savez(object_array, **{"l1/W": np.array([{}], dtype=object)})
    trainer = tmp_path / "trainer.npz"
    np.savez(trainer, **{"updater/model:main/l1/W": np.zeros(3)})
    cases = [
        (object_array, "G", GanvasError, "cannot be read as arrays of numbers"),
        (trainer, "G", GanvasError, "is the snapshot of a whole training"),
        (snapshot(tmp_path, "D128"), "G_ema", NetworkMissingError, "holds a discriminator: add network=D"),
        (snapshot(tmp_path, "G128"), "D", NetworkMissingError, "holds a generator: leave network= out"),
        (snapshot(tmp_path, "E128"), "G", NetworkMissingError, "holds an encoder: add network=E and generator=FILE"),
    ]
    for path, network, error, says in cases:
        with pytest.raises(error, match=says):
            load_foreign(path, network)
    for changed, says in (
        ({"block4__b1__avg_var": None}, "not as neural-collage writes it"), ({"l7__W": None}, "not as neural-collage"),
        ({"block2__b1__gammas__W": None}, "no class-conditional generator"),
        ({"block3__c1__W": np.zeros((3, 3, 3, 3), np.float32)}, "block3.c1.weight"),
        ({"b7__gamma": np.full(2, np.nan, np.float32)}, "NaN or infinite"),
    ):
        with pytest.raises(GanvasError, match=says):
            load_foreign(snapshot(tmp_path, "G128", **changed))
    G = load_foreign(snapshot(tmp_path, "G128"))
    for network, changed, says in (
        ("G128", {}, "holds no encoder of neural-collage"),
        ("E128", {"prelu_out__W": None}, "holds no encoder of neural-collage"),
        ("E128", {"l7__W": np.zeros((4, 128 * 3), np.float32)}, "the encoder in .*E128.npz"),
        ("E128", {"l7__W": np.zeros((9, 256), np.float32)}, "has z_dim=9, and the generator 4"),
    ):
        with pytest.raises(GanvasError, match=says):
            load_encoder(snapshot(tmp_path, network, **changed), G)
