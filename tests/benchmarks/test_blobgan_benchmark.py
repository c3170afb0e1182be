"""BlobGAN's benchmark: the straightforward arm draws the same images, and every figure comes out."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import blobgan
from benchmarks.straight_blobgan import straight_image
from networks.blobgan import BlobGenerator

TINY = {"img_resolution": 32, "k": 3, "channels": [12, 8, 6], "z_dim": 8, "hidden_dim": 8, "layers": 2,
        "structure_dim": 10, "style_dim": 6, "smallest": 8}  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_both_arms_draw_the_same_images(offset: float) -> None:
    torch.manual_seed(0)
    generator = BlobGenerator(**TINY, offset=offset).requires_grad_(False)
    for parameter in generator.synthesis.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    layout = blobgan.scenes(generator, 2)
    ours = generator.synthesis(layout, "none")
    torch.testing.assert_close(straight_image(generator.synthesis, layout), ours, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_step_from_tensors_is_the_same_and_on_a_gpu_its_replay(device: str) -> None:
    torch.manual_seed(0)
    generator = BlobGenerator(**TINY).to(device)
    layout = blobgan.scenes(generator, 2)
    weights = list(generator.synthesis.parameters())
    found = []
    for work in (blobgan.replayed(generator.synthesis, layout), lambda it: generator.synthesis(it, "none")):
        image = work(layout)
        wanted = [*layout.tensors().values(), *weights]
        found.append([image, *torch.autograd.grad(image.square().sum(), wanted, allow_unused=True)])
    assert sum(x is not None for x in found[0]) > 20
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_every_figure_comes_out(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(blobgan, "QUICK", (blobgan.Size("tiny", 1, TINY),))
    monkeypatch.setattr(blobgan, "BLOBS", (2, 4))
    out = tmp_path / "blobgan.json"
    assert blobgan.main(["--quick", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert all(found[name] > 0 for name in (*blobgan.TARGETS, "splat_growth", "step_growth"))
    assert found["activation_ratio"] > 2                        # bytes, which do not depend on the machine
    assert [row["k"] for row in found["curve"]] == [2, 4]
    assert found["rows"][0]["largest difference"] < 1e-4
    page = out.with_suffix(".md").read_text()
    assert "| k | splat_ms | splat_theirs_ms | step_ms | step_theirs_ms |" in " ".join(page.split())
    assert "{" not in page
    assert found["command"] == "python benchmarks/blobgan.py --device cpu --quick"
