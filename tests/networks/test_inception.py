"""The FID Inception: what it takes from a file, how it pools, and what it says where the file is missing or another.

The weights are in no package, so a file of random ones in the same layout stands for them; the arithmetic is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.checkpoints.errors import GanvasError
from networks.critics import feature_network
from networks.critics.inception import POOLS, SOURCES, Inception, find_weights
from networks.torchvision_shim import declare_torchvision_ops

FID, OWN = SOURCES["inception"], SOURCES["inception-torchvision"]


def torchvision_network(classes: int, aux: bool) -> nn.Module:
    declare_torchvision_ops()
    models = pytest.importorskip("torchvision.models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.inception_v3(num_classes=classes, aux_logits=aux, weights=None, init_weights=False)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    """torchvision's network with random weights, 1008 classes and no second classifier, as the FID's file has it."""
    return torchvision_network(1008, aux=False)


@pytest.fixture(scope="module")
def file(plain: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("inception") / FID.file
    # The published file is of an older torch, without counts of batches.
    torch.save({k: v for k, v in plain.state_dict().items() if not k.endswith("num_batches_tracked")}, path)
    yield path
    path.unlink()  # 90 MB


@pytest.fixture(scope="module")
def inception(file: Path) -> nn.Module:
    return feature_network("inception", file)


def images(n: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_it_is_torchvision_s_network_but_for_the_pools(inception: nn.Module, plain: nn.Module) -> None:
    features = inception(images())
    assert features.shape == (2, 2048)
    assert not any(p.requires_grad for p in inception.parameters())
    # As pytorch-fid prepares images: from [0, 1], bilinear without a filter, then to [-1, 1].
    unit = (images() + 1) / 2
    x = 2 * F.interpolate(unit, size=(299, 299), mode="bilinear", align_corners=False) - 1
    for name, layer in plain.named_children():
        if name in ("avgpool", "dropout", "fc"):
            break
        # The branch that is pooled comes last; the others are torchvision's.
        y = layer(x)
        if name in POOLS:
            pooled = F.max_pool2d(x, 3, 1, 1) if name == "Mixed_7c" else interior_average(x)
            y = torch.cat([y[:, : -layer.branch_pool.conv.out_channels], layer.branch_pool(pooled)], dim=1)
        x = y
    torch.testing.assert_close(features, x.mean((2, 3)), rtol=1e-4, atol=1e-5)


def interior_average(x: torch.Tensor) -> torch.Tensor:
    """The mean of the up to nine neighbours that lie inside."""
    total = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1) * 9
    return total / (F.avg_pool2d(F.pad(torch.ones_like(x), (1, 1, 1, 1)), 3, 1) * 9).round()


def test_nine_blocks_are_repooled() -> None:
    assert sorted(POOLS) == [f"Mixed_{name}" for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c")]


def test_loading_leaves_the_caller_s_random_state(file: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    feature_network("inception", file)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)


def test_torchvision_s_own_file_has_a_second_classifier_and_its_own_pools(tmp_path: Path) -> None:
    network = torchvision_network(1000, aux=True)
    path = tmp_path / OWN.file
    torch.save(network.state_dict(), path)
    x = F.interpolate(images(), size=(299, 299), mode="bilinear", align_corners=False)
    network.fc = nn.Identity()
    torch.testing.assert_close(feature_network("inception-torchvision", path)(images()), network(x))


def test_another_file_is_refused_in_one_sentence(file: Path, tmp_path: Path) -> None:
    state = torch.load(file, weights_only=True)
    with pytest.raises(GanvasError, match=rf"does not hold the weights of {OWN.file}, by 2 tensors \(bias, "):
        feature_network("inception-torchvision", file)
    torch.save({k: v for k, v in state.items() if k != "Mixed_5b.branch1x1.conv.weight"}, tmp_path / "a.pth")
    with pytest.raises(GanvasError, match=r"by 1 tensors \(Mixed_5b.branch1x1.conv.weight, "):
        feature_network("inception", tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"no weights")
    with pytest.raises(GanvasError, match=r"b\.pth cannot be read as PyTorch weights: fetch it again"):
        feature_network("inception", tmp_path / "b.pth")
    torch.save([1, 2], tmp_path / "c.pth")
    with pytest.raises(GanvasError, match=r"c\.pth holds no state dict"):
        feature_network("inception", tmp_path / "c.pth")


def test_missing_weights_say_what_belongs_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("nothing is fetched unasked"))
    with pytest.raises(GanvasError) as caught:
        feature_network("inception")
    assert str(caught.value) == (
        f"features inception need weights that are not here: put {FID.url}/{FID.file} at "
        f"{tmp_path / 'checkpoints' / FID.file}, name the file with metrics_weights=, or give allow_download=true"
    )
    with pytest.raises(GanvasError, match=f"there is no file /no/such: metrics_weights= must name the file {FID.file}"):
        feature_network("inception", "/no/such", allow_download=True)


def test_the_hub_folder_is_looked_in(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / FID.file).symlink_to(file)
    assert find_weights("inception", FID, None, allow_download=False) == tmp_path / "checkpoints" / FID.file


def test_a_download_is_checked_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def fetch(url: str, where: str, hash_prefix: str) -> None:
        asked.append((url, where, hash_prefix))
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(GanvasError, match=r"could not be fetched \(invalid hash value\): put the file at"):
        feature_network("inception", allow_download=True)
    assert asked == [(f"{FID.url}/{FID.file}", str(tmp_path / "checkpoints" / FID.file), "6726825d")]


def test_wrong_images_are_named(inception: Inception) -> None:
    with pytest.raises(ValueError, match=r"images must be \[N, 3, H, W\], got \[1, 1, 8, 8\]"):
        inception(torch.zeros(1, 1, 8, 8))
