"""Foreign checkpoints beside the code that writes them: the same weights, the same codes, the largest difference.

Each original runs in a process of its own, from a checkout that the caller names, since their modules share names and
their licences keep them out of here. It writes a checkpoint as its training does, with the images and logits, or the
codes, that it makes; then Ganvas reads that file and makes them again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import interpolate

from benchmarks import report
from benchmarks.official import official_module
from benchmarks.parity import load_original
from benchmarks.settings import ROOT
from networks.checkpoints.classifiers import read_classifiers
from networks.checkpoints.encoders import load_foreign_encoder
from networks.checkpoints.generators import load_foreign
from networks.stylegan2 import Generator

TRAINED = ROOT / "zoo" / "avatars64.safetensors"
ORIGINALS = {
    "ada": "stylegan2-ada-pytorch", "sg3": "the stylegan3 repository", "rosinality": "rosinality's stylegan2-pytorch",
    "psp": "pixel2style2pixel", "e4e": "encoder4editing", "editgan": "editGAN_release",
}  # fmt: skip
ENCODERS = {"psp": "GradualStyleEncoder", "e4e": "Encoder4Editing", "editgan": "FPNEncoder"}
ENCODED = 64  # pixels a side of the generator, so 10 rows: of all three levels


COLUMNS = ("original", "network", "images", "deviation of the images", "logits", "codes", "deviation of the codes")


class Case(NamedTuple):
    """One network of an original."""

    name: str
    arguments: dict[str, Any]      # of its Generator
    discriminator: dict[str, Any]  # of its Discriminator
    classes: int = 0
    trained: bool = False          # with the weights of the zoo's generator


def official_cases(repository: str) -> list[Case]:
    """What is compared with the official releases."""
    small = {"channel_base": 1024, "channel_max": 48, "num_fp16_res": 2, "conv_clamp": 256}
    shape = {"img_resolution": 64, "img_channels": 3}
    if repository == "sg3":
        grey = {**shape, "img_channels": 1, **small}
        arguments = {"z_dim": 16, "w_dim": 24, **grey, "mapping_kwargs": {"num_layers": 3}}
        return [Case("64x64, grey, conditional", arguments, grey, classes=3)]
    cases = [
        Case(f"64x64, {kind}" + (", conditional" if classes else ""),
             {"z_dim": 16, "w_dim": 24, **shape, "mapping_kwargs": {"num_layers": 3},
              "synthesis_kwargs": {**small, "architecture": kind}},
             {**shape, **small, "architecture": kind, "mapping_kwargs": {"num_layers": 2}}, classes)
        for kind, classes in (("skip", 0), ("resnet", 3), ("orig", 0))
    ]  # fmt: skip
    lean = {"channel_base": 2048, "channel_max": 128}
    zoo = {"z_dim": 128, "w_dim": 128, **shape, "mapping_kwargs": {"num_layers": 4, "lr_multiplier": 1.0},
           "synthesis_kwargs": lean}  # fmt: skip
    return [*cases, Case("64x64, weights of zoo/avatars64", zoo, {**shape, **lean}, trained=True)]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare with every checkout that is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, repository in ORIGINALS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"a checkout of {repository}")
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "checkpoints-cpu.json")
    parser.add_argument("--worker", nargs=3, metavar=("NAME", "DIR", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        name, checkout, out = arguments.worker
        torch.manual_seed(0)
        worker = encoder if name in ENCODERS else rosinality if name == "rosinality" else official
        worker(name, Path(checkout), Path(out))
        return 0
    rows = [
        {"original": repository, **row} for name, repository in ORIGINALS.items() if getattr(arguments, name)
        for row in (compare_encoder if name in ENCODERS else compare)(name, getattr(arguments, name))
    ]  # fmt: skip
    if arguments.editgan:
        rows += [{"original": ORIGINALS["editgan"], **row} for row in compare_classifiers(arguments.editgan)]
    rows = [{name: row.get(name) for name in COLUMNS} for row in rows]
    compared = {row["original"] for row in rows}
    given = [f"--{name} DIR" for name, repository in ORIGINALS.items() if repository in compared]
    report.keep_rows(
        arguments.out, "Foreign checkpoints\n\nLargest differences from the code that wrote them, float32.",
        " ".join(["python benchmarks/checkpoints.py", *given]), rows,
        {f"{what}_max_diff": max((row[f"{what}s"] for row in rows if row[f"{what}s"] is not None), default=None)
         for what in ("image", "logit", "code")},
    )  # fmt: skip
    return 0


def compare(name: str, checkout: Path) -> list[dict[str, Any]]:
    """Largest differences, a row a case."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _run_original(name, checkout, folder)
        for made in sorted(Path(folder).glob("*.made")):
            theirs = torch.load(made, weights_only=True)
            (file,) = set(Path(folder).glob(f"{made.stem}.*")) - {made}
            G, D = load_foreign(file), load_foreign(file, "D")
            with torch.no_grad():
                image = G(theirs["z"], theirs["label"], truncation=0.7)
                logits = D(theirs["image"], theirs["label"])
            found.append({
                "network": theirs["case"], "images": (image - theirs["image"]).abs().max().item(),
                "deviation of the images": theirs["image"].std().item(),
                "logits": (logits - theirs["logits"]).abs().max().item(),
            })  # fmt: skip
    return found


def compare_encoder(name: str, checkout: Path) -> list[dict[str, Any]]:
    """The same for an encoder: largest difference of its codes."""
    generator = Generator(ENCODED, channel_base=1024, channel_max=16)
    with tempfile.TemporaryDirectory() as folder:
        _run_original(name, checkout, folder)
        theirs = torch.load(Path(folder) / "0.made", weights_only=True)
        encoder = load_foreign_encoder(Path(folder) / "0.pt", generator)
        encoder.img_resolution = theirs["image"].shape[-1]  # as the original sees it, and not as the generator makes it
        if hasattr(encoder, "size"):
            encoder.size = encoder.img_resolution
        with torch.no_grad():
            codes = encoder(theirs["image"])
    difference = (codes - theirs["codes"]).abs().max().item()
    apart = theirs["codes"].std(dim=0).mean().item()  # between images
    return [{"network": theirs["case"], "codes": difference, "deviation of the codes": apart}]


@torch.no_grad()
def compare_classifiers(checkout: Path) -> list[dict[str, Any]]:
    """The same for ensembles of pixel classifiers: EditGAN's class on every map enlarged and concatenated.

    Its file imports nothing but PyTorch, so it needs no process of its own.
    """
    original, found = load_original(checkout), []
    for size, classes in ((64, 11), (64, 34), (1024, 11)):
        generator = Generator(size, channel_base=1024, channel_max=8).eval()
        _, maps = generator.render(generator.sample(1, seed=0), features=True)
        grid = min(size, 512)
        large = [interpolate(x, size=(grid, grid), mode="bilinear", align_corners=False) for x in maps.values()]
        pixels = torch.cat(large, dim=1)[0].flatten(1).T
        with tempfile.TemporaryDirectory() as folder:
            theirs = []
            for i in range(3):
                member = nn.DataParallel(original(classes, pixels.shape[1]))
                _unsettle(member)
                torch.save({"model_state_dict": member.state_dict()}, Path(folder) / f"model_{i}.pth")
                theirs.append(member(pixels).T.unflatten(1, (grid, grid)))
            head = read_classifiers(Path(folder), generator)
        expected = interpolate(torch.stack(theirs), scale_factor=size // grid, mode="bilinear", align_corners=False)
        difference = (head(maps)[:, 0] - expected).abs().max().item()
        found.append({"network": f"3 classifiers, {classes} classes, {size}x{size}", "logits": difference})
    return found


def _run_original(name: str, checkout: Path, folder: str) -> None:
    command = [sys.executable, __file__, "--worker", name, str(checkout.resolve()), folder]
    subprocess.run(command, check=True)


def official(name: str, checkout: Path, out: Path) -> None:
    """In its own process: networks of an official release, their pickle, and what they make."""
    import pickle

    networks = official_module(checkout, "training.networks" if name == "ada" else "training.networks_stylegan2")
    for i, case in enumerate(official_cases(name)):
        G = networks.Generator(c_dim=case.classes, **case.arguments)
        D = networks.Discriminator(c_dim=case.classes, **case.discriminator)
        if case.trained:
            G.load_state_dict(load_file(TRAINED))
            G.eval().requires_grad_(False)
        else:
            _unsettle(G)
        _unsettle(D)
        z = torch.randn(4, G.z_dim)
        label = torch.eye(case.classes)[torch.arange(4) % case.classes] if case.classes else None
        with torch.no_grad():
            image = G(z, label, truncation_psi=0.7, noise_mode="const", force_fp32=True)
            logits = D(image, label, force_fp32=True)
        with (out / f"{i}.pkl").open("wb") as file:
            pickle.dump({"G": G, "D": D, "G_ema": G, "augment_pipe": None, "training_set_kwargs": {}}, file)
        torch.save({"case": case.name, "z": z, "label": label, "image": image, "logits": logits}, out / f"{i}.made")


def rosinality(_: str, checkout: Path, out: Path) -> None:
    """The same for rosinality's code."""
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *_, **__: None  # it compiles CUDA kernels at import; the CPU needs none
    sys.path.insert(0, str(checkout))
    import model

    for size, multiplier in ((64, 1), (64, 3), (128, 2)):
        G, D = model.Generator(size, 64, 3, channel_multiplier=multiplier), model.Discriminator(size, multiplier)
        _unsettle(G)
        _unsettle(D)
        z, mean = torch.randn(4, 64), 0.1 * torch.randn(64)
        with torch.no_grad():
            image, _ = G([z], truncation=0.7, truncation_latent=mean, randomize_noise=False)
            logits = D(image)
        name, case = f"{size}-{multiplier}", f"{size}x{size}, channel multiplier {multiplier}"
        torch.save({"g_ema": G.state_dict(), "d": D.state_dict(), "latent_avg": mean}, out / f"{name}.pt")
        torch.save({"case": case, "z": z, "label": None, "image": image, "logits": logits}, out / f"{name}.made")


def encoder(name: str, checkout: Path, out: Path) -> None:
    """An encoder of another code base in its own process, its checkpoint, and its codes of noisy images."""
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *_, **__: None
    sys.path.insert(0, str(checkout))
    rows = 2 * ENCODED.bit_length() - 4
    if name == "editgan":
        sys.modules["torchvision"] = types.ModuleType("torchvision")  # imported there for a loss alone
        from models.encoder.encoder import FPNEncoder

        E, average = FPNEncoder(3, n_latent=rows), torch.zeros(rows, 512)
    else:
        from models.encoders import psp_encoders

        opts = types.SimpleNamespace(stylegan_size=ENCODED, input_nc=3, n_styles=rows)
        E, average = getattr(psp_encoders, ENCODERS[name])(50, "ir_se", opts), 0.1 * torch.randn(512).repeat(rows, 1)
    _unsettle(E)
    for weight in E.parameters():
        if weight.ndim == 4:  # as He et al. 2015 draw them: with PyTorch's own, codes would hardly depend on the image
            weight.mul_(6**0.5)
    image = torch.nn.functional.interpolate(torch.randn(2, 3, 16, 16), size=256, mode="bilinear").clamp(-1, 1)
    image = (image + 0.1 * torch.randn_like(image)).clamp(-1, 1)
    with torch.no_grad():
        codes = E(image) + average
    if name == "editgan":
        torch.save({"model_state_dict": E.state_dict()}, out / "0.pt")
    else:
        opts = {"encoder_type": ENCODERS[name], "start_from_latent_avg": True}
        weights = {f"encoder.{key}": value for key, value in E.state_dict().items()}
        torch.save({"state_dict": weights, "latent_avg": average, "opts": opts}, out / "0.pt")
    torch.save({"case": f"{ENCODERS[name]}, {rows} rows", "image": image, "codes": codes}, out / "0.made")


@torch.no_grad()
def _unsettle(network: nn.Module) -> None:
    """Give what starts at zero a value, so that it shows."""
    for name, value in network.state_dict().items():
        if name.endswith(("noise_strength", "noise.weight")):
            value.fill_(0.3)
        if name.endswith(("bias", "w_avg", "running_mean")):
            value.add_(0.1 * torch.randn_like(value))
        if name.endswith("running_var"):
            value.mul_(0.5 + torch.rand_like(value))
    network.eval().requires_grad_(False)


if __name__ == "__main__":
    sys.exit(main())
