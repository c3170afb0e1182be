"""Held against BlobGAN's own code: names, shapes, and whole tensors from layout to image (``blobgan_release.py``).

Bounds are absolute: numbers of blobs, opacities, weights and features are of order one here; images have a standard
deviation of 3 and 4, larger than those of trained networks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from cuda_ops.blob_splat import blob_opacity
from cuda_ops.spatial_modulation import spatial_modulation
from launch import cli
from networks.blobgan import BlobGenerator
from networks.blobgan.layout import Layout
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_foreign, load_generator, save_generator
from networks.checkpoints.pickles import UnsafePickleError
from tests.networks.blobgan_release import ARRAYS, CASES, SHAPES, judged, weights

NAMES = json.loads(SHAPES.read_text())


@pytest.fixture(params=CASES)
def title(request: pytest.FixtureRequest) -> str:
    """Of the generators that the release's code was run with."""
    return request.param


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    return checkpoint_of("small")


def checkpoint_of(title: str) -> dict[str, Any]:
    """A checkpoint as Lightning 1.5 writes it, with OmegaConf's containers among the settings."""
    case = CASES[title]
    parts = {part: case.weights(part, NAMES[title][part]) for part in ("layout_net", "generator")}
    parts |= {f"{name}_ema": values for name, values in parts.items()}
    parts["discriminator"] = weights(NAMES["discriminator"], 0)
    decoder = OmegaConf.create({"size": case.resolution, "size_in": case.smallest})
    return {
        "epoch": 3, "global_step": 10, "pytorch-lightning_version": "1.5.10", "optimizer_states": [{"state": {}}],
        "state_dict": {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()},
        "hyper_parameters": {"generator": decoder, "ab_norm": case.area, "noise_dim": case.z_dim},
    }  # fmt: skip


@pytest.fixture
def generator(title: str, tmp_path: Path) -> BlobGenerator:
    return load_generator(written(checkpoint_of(title), tmp_path))


@pytest.fixture
def layout(generator: BlobGenerator, title: str) -> Layout:
    with torch.no_grad():
        return generator.layout_network(CASES[title].z)


@pytest.fixture
def theirs(title: str) -> dict[str, Tensor]:
    """What the release's code made of these weights."""
    with np.load(ARRAYS) as arrays:
        return {name.removeprefix(f"{title}."): torch.from_numpy(arrays[name])
                for name in arrays if name.startswith(f"{title}.")}  # fmt: skip


def written(checkpoint: Mapping[str, Any], folder: Path) -> Path:
    path = folder / "last.ckpt"
    torch.save(checkpoint, path)
    return path


def close(ours: Tensor, theirs: Tensor, within: float) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


def test_the_scenes_leave_no_number_of_a_blob_out(theirs: dict[str, Tensor]) -> None:
    centre = torch.stack([theirs["xs"], theirs["ys"]], 2)
    apart = (centre[:, :, None] - centre[:, None]).norm(dim=3)
    assert centre.std(dim=1).min() > 0.1
    assert apart[apart > 0].min() > 0.05
    variances, directions = torch.linalg.eigh(theirs["covs"])
    assert (variances[..., 1] / variances[..., 0]).min() > 1.7
    angle = torch.atan2(directions[..., 1, 1], directions[..., 0, 1]) % torch.pi
    assert (angle.amax(dim=1) - angle.amin(dim=1)).min() > 1
    assert theirs["opacities"].amax(dim=(2, 3)).min() > 0.4  # none is hidden
    assert theirs["opacities"].mean(dim=(2, 3)).max() < 0.5  # none is everywhere


def test_layouts_are_the_releases(layout: Layout, generator: BlobGenerator, theirs: dict[str, Tensor]) -> None:
    close(layout.centre, torch.stack([theirs["xs"], theirs["ys"]], 2), 1e-5)
    close(layout.size, theirs["sizes"][:, 1:], 1e-5)
    close(layout.covariance(generator.synthesis.area) + 1e-5 * torch.eye(2), theirs["covs"], 1e-6)
    close(layout.structure, theirs["features"], 1e-5)
    close(layout.style, theirs["spatial_style"], 1e-5)


def test_opacities_are_the_releases(layout: Layout, generator: BlobGenerator, theirs: dict[str, Tensor]) -> None:
    resolution = theirs["opacities"].shape[-1]
    ours = blob_opacity(layout.centre, layout.size, layout.log_aspect, layout.angle, resolution,
                        area=generator.synthesis.area)  # fmt: skip
    close(ours, theirs["opacities"], 1e-5)


def test_the_pyramid_is_the_releases(layout: Layout, generator: BlobGenerator, theirs: dict[str, Tensor]) -> None:
    ours = generator.synthesis.weights(layout)
    assert {f"weights{resolution}" for resolution in ours} == {name for name in theirs if name.startswith("weights")}
    for resolution, level in ours.items():
        close(level, theirs[f"weights{resolution}"], 1e-5)


@pytest.mark.parametrize("changed", ["angle", "log_aspect"])
def test_a_blob_turned_the_other_way_is_not_theirs(
    changed: str, layout: Layout, generator: BlobGenerator, theirs: dict[str, Tensor]
) -> None:
    flipped = {"angle": layout.angle * torch.tensor([1.0, -1.0]), "log_aspect": -layout.log_aspect}
    ours = generator.synthesis.weights(layout.replace(**{changed: flipped[changed]}))
    for resolution, level in ours.items():
        assert (level - theirs[f"weights{resolution}"]).abs().amax(dim=(1, 2, 3)).min() > 0.1


@torch.no_grad()
def test_splatted_features_are_theirs(layout: Layout, generator: BlobGenerator, theirs: dict[str, Tensor]) -> None:
    """As the first layer gets them: structure as its input; styles, normalised there, as what it multiplies ones by."""
    synthesis = generator.synthesis
    first = next(synthesis.blocks())
    seen: list[Tensor] = []
    with first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        synthesis(layout)
    close(seen[0], theirs["structure"], 1e-5)
    grid = theirs["styles"]
    styles = first.conv1.affine(layout.style.flatten(0, 1)).unflatten(0, layout.style.shape[:2])
    ours = spatial_modulation(torch.ones_like(grid), synthesis.weights(layout)[first.resolution], styles, 1e-8)
    close(ours, grid * (grid.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt(), 1e-5)


@torch.no_grad()
def test_images_are_the_releases(
    layout: Layout, generator: BlobGenerator, title: str, theirs: dict[str, Tensor]
) -> None:  # fmt: skip
    maps = {path: noise[0].expand(len(layout), -1, -1)
            for path, noise in zip(generator.feature_shapes, CASES[title].noise, strict=True)}  # fmt: skip
    images = generator.synthesis(layout, (maps, "none"))
    close(images, theirs["image"], 1e-4)


@torch.no_grad()
def test_logits_are_the_releases(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    D = load_foreign(written(checkpoint, tmp_path), "D")
    with np.load(ARRAYS) as arrays:
        close(D(judged()), torch.from_numpy(arrays["logits"]), 1e-4)


@pytest.mark.parametrize("title", ["small"])
def test_the_mean_of_the_hidden_code_is_made(generator: BlobGenerator) -> None:
    z = torch.randn(2000, generator.z_dim, generator=torch.Generator().manual_seed(5))
    spread = generator.layout_network.hidden(z)
    error = (spread.mean(dim=0) - generator.layout_network.hidden_avg).abs()
    assert (error < 0.15 * spread.std(dim=0) + 1e-6).all()


@pytest.mark.parametrize("title", ["small"])
def test_an_imported_generator_survives_a_bundle(generator: BlobGenerator, tmp_path: Path) -> None:
    again = load_generator(save_generator(tmp_path / "g.safetensors", generator, {}))
    assert again.hash == generator.hash
    assert torch.equal(again.render(again.sample(2, 0)), generator.render(generator.sample(2, 0)))


def test_the_settings_say_what_no_shape_tells(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    settings = checkpoint["hyper_parameters"]
    settings["ab_norm"] = 0.01
    first = load_generator(written(checkpoint, tmp_path))
    assert (first.config["area"], first.config["covariance"]) == (0.01, "frozen")
    assert "aspect and angle were not trained" in first.source
    assert "ab_norm=0.01 is of BlobGAN's first release" in first.note
    settings["generator"]["size_in"], settings["layout_net"] = 8, OmegaConf.create({"mlp_lr_mul": 0.1})
    other = load_generator(written(checkpoint, tmp_path)).config
    assert (other["smallest"], other["img_resolution"], other["lr_mult"]) == (8, 16, 0.1)
    del checkpoint["hyper_parameters"]
    plain = load_generator(written(checkpoint, tmp_path))
    assert [plain.config[key] for key in ("area", "smallest", "lr_mult")] == [0.02, 16, 0.01]
    assert (plain.config["covariance"], plain.note) == ("learned", "")


@pytest.mark.parametrize("ab_norm", [0.01, 0.02])
def test_converting_says_whose_covariances_were_not_trained(
    ab_norm: float, checkpoint: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint["hyper_parameters"]["ab_norm"] = ab_norm
    out = tmp_path / "g.safetensors"
    assert cli.main(["convert", f"source={written(checkpoint, tmp_path)}", f"out={out}"]) == cli.OK
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    first = ab_norm == 0.01
    assert len(notes) == first
    assert all("covariance: frozen" in note for note in notes)
    converted, source = load_generator(out), load_generator(tmp_path / "last.ckpt")
    assert converted.config["covariance"] == ("frozen" if first else "learned")
    assert torch.equal(converted.render(converted.sample(2, 0)), source.render(source.sample(2, 0)))


def test_blobs_that_ours_cannot_be_are_refused(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    settings = checkpoint["hyper_parameters"]
    settings["layout_net"] = OmegaConf.create({"norm_features": False})
    with pytest.raises(GanvasError, match=r"norm_features is False"):
        load_generator(written(checkpoint, tmp_path))
    settings["ab_norm"] = None
    with pytest.raises(GanvasError, match=r"ab_norm is None"):
        load_generator(written(checkpoint, tmp_path))


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hostile",)


def test_what_does_not_fit_is_said_in_a_sentence(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    weights = checkpoint["state_dict"]
    weights["layout_net_ema.mlp.3.bias"] = weights.pop("layout_net_ema.mlp.3.bias")[:-1]
    weights["layout_net_ema.mlp.3.weight"] = weights["layout_net_ema.mlp.3.weight"][:-1]
    with pytest.raises(GanvasError, match=r"not as BlobGAN's code writes it .* no whole number of blobs"):
        load_generator(written(checkpoint, tmp_path))
    for name in [name for name in weights if name.startswith("layout_net_ema")]:
        del weights[name]
    with pytest.raises(GanvasError, match=r"holds no network G_ema"):
        load_generator(written(checkpoint, tmp_path))
    load_foreign(written(checkpoint, tmp_path), "G")
    weights["generator.odd"] = torch.ones(1)
    with pytest.raises(GanvasError, match=r"it has odd, which is unknown"):
        load_foreign(written(checkpoint, tmp_path), "G")
    weights["generator.style.1.weight"] = torch.ones(1)
    with pytest.raises(GanvasError, match=r"its styles are not spatial"):
        load_foreign(written(checkpoint, tmp_path), "G")
    checkpoint["hyper_parameters"]["x"] = Command()
    with pytest.raises(UnsafePickleError, match=r"nothing was run"):
        load_foreign(written(checkpoint, tmp_path), "G")
    assert not Path("hostile").exists()
