"""Pickles of the official releases: networks come out whole, and nothing in the file is run."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from networks.checkpoints import pickles
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_foreign, load_generator, save_generator
from networks.checkpoints.pickles import OFFICIAL, UnsafePickleError, read_pickle
from networks.stylegan2 import Discriminator, Generator
from tests.networks import official_pickle
from tests.networks.official_pickle import Official, describe, their_modules, write

SMALL = {"channel_base": 256, "channel_max": 16, "mapping_layers": 2}
ARCHITECTURES = ("skip", "resnet", "orig")
Change = Callable[[Official], None]


def generator(**arguments: Any) -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=8, w_dim=12, **{**SMALL, **arguments}).eval().requires_grad_(False)
    for name, value in G.state_dict().items():
        if name.endswith(("noise_strength", "w_avg")):
            value.normal_()
    return G


def discriminator(**arguments: Any) -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(32, **{**SMALL, **arguments}).eval().requires_grad_(False)


# --- what is in the file comes out


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_generator_comes_out_as_it_went_in(tmp_path: Path, architecture: str, protocol: int) -> None:
    options = {"architecture": architecture, "c_dim": 3 if architecture == "resnet" else 0, "conv_clamp": 256.0,
               "num_fp16_res": 2, "mapping_lr_mult": 0.02, "w_avg_beta": 0.995}  # fmt: skip
    G = generator(**options)
    found = load_generator(write(tmp_path / "g.pkl", {"G": G, "D": discriminator(), "G_ema": G}, protocol))
    assert found.config == G.config
    latent = G.sample(3, 0, truncation=0.7)
    assert torch.equal(found.render(latent), G.render(latent))
    assert not found.training
    assert found.path == tmp_path / "g.pkl"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("group", [4, None, 0])
def test_a_discriminator_comes_out_as_it_went_in(tmp_path: Path, architecture: str, group: int | None) -> None:
    D = discriminator(architecture=architecture, c_dim=2, mbstd_group_size=group, conv_clamp=1.0, num_fp16_res=1)
    found = load_foreign(write(tmp_path / "d.pkl", {"G_ema": generator(), "D": D}), "D")
    assert found.config == D.config
    images, labels = torch.randn(4, 3, 32, 32), torch.eye(2)[[0, 1, 1, 0]]
    assert torch.equal(found(images, labels), D(images, labels))


@torch.no_grad()
def test_a_channel_base_that_no_power_of_two_divides(tmp_path: Path) -> None:
    G, D = generator(channel_base=1000, channel_max=48), discriminator(channel_base=1000, channel_max=48)
    path = write(tmp_path / "g.pkl", {"G_ema": G, "D": D})
    latent, images = G.sample(2, 0), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_generator(path).render(latent), G.render(latent))
    assert torch.equal(load_foreign(path, "D")(images), D(images))


def test_both_generators_are_there(tmp_path: Path) -> None:
    one, other = generator(), generator()
    other.mapping.fc0.bias.fill_(1.0)
    path = write(tmp_path / "g.pkl", {"G": one, "G_ema": other})
    assert load_generator(path).mapping.fc0.bias[0] == 1
    assert load_foreign(path, "G").mapping.fc0.bias[0] == 0


def test_its_hash_is_that_of_its_bundle(tmp_path: Path) -> None:
    G = load_generator(write(tmp_path / "g.pkl", {"G_ema": generator()}))
    assert load_generator(save_generator(tmp_path / "g.safetensors", G, {})).hash == G.hash != ""


def test_a_bundle_whose_first_byte_is_a_pickle_s_is_still_a_bundle(tmp_path: Path) -> None:
    # safetensors pads the header, whose length comes first, to a multiple of 8: one in 32 has 0x80 there.
    for padding in range(0, 256, 8):
        path = save_generator(tmp_path / "g.safetensors", generator(), {"note": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert load_generator(path).config == generator().config


def test_a_pickle_of_nothing_but_a_generator(tmp_path: Path) -> None:
    with their_modules():
        (tmp_path / "g.pkl").write_bytes(pickle.dumps(describe(generator())))
    assert load_generator(tmp_path / "g.pkl").config == generator().config


def test_layers_without_noise_get_noise_of_no_strength(tmp_path: Path) -> None:
    G = generator()
    theirs = describe(G)
    for block in theirs.state["_modules"]["synthesis"].state["_modules"].values():
        for name, layer in block.state["_modules"].items():
            if name.startswith("conv"):
                layer.state["use_noise"] = False
                del layer.state["_parameters"]["noise_strength"], layer.state["_buffers"]["noise_const"]
    found = load_generator(write(tmp_path / "g.pkl", {"G_ema": theirs}))
    ws = G.sample(2, 0).tensors["ws"]
    assert torch.equal(found.synthesis(ws), G.synthesis(ws, noise="none"))


def test_numbers_that_numpy_made(tmp_path: Path) -> None:
    theirs = describe(generator())
    theirs.state["img_channels"] = official_pickle.np.int64(3)
    theirs.state["_modules"]["mapping"].state["w_avg_beta"] = official_pickle.np.float32(0.5)
    assert load_generator(write(tmp_path / "g.pkl", {"G_ema": theirs})).config["w_avg_beta"] == 0.5


# --- what is not ours


def of_synthesis(theirs: Official, block: str = "b8") -> Official:
    return theirs.state["_modules"]["synthesis"].state["_modules"][block]


def relu(theirs: Official) -> None:
    of_synthesis(theirs).state["_modules"]["conv0"].state["activation"] = "relu"


def longer_filter(theirs: Official) -> None:
    of_synthesis(theirs).state["_buffers"]["resample_filter"] = torch.ones(6, 6)


def two_clamps(theirs: Official) -> None:
    of_synthesis(theirs).state["_modules"]["conv1"].state["conv_clamp"] = 3.0


def two_rates(theirs: Official) -> None:
    theirs.state["_modules"]["mapping"].state["_modules"]["fc0"].state["bias_gain"] = 1.0


def stylegan3(theirs: Official) -> None:
    theirs.state["_modules"]["synthesis"].state["_modules"] = {"input": Official("SynthesisInput", {})}


def something_else(theirs: Official) -> None:
    theirs.state["_modules"] = {}


def no_size(theirs: Official) -> None:
    del theirs.state["img_resolution"]


def odd_size(theirs: Official) -> None:
    theirs.state["img_resolution"] = 24


def missing_weight(theirs: Official) -> None:
    del of_synthesis(theirs).state["_modules"]["conv0"].state["_parameters"]["bias"]


def extra_weight(theirs: Official) -> None:
    of_synthesis(theirs).state["_parameters"]["gain"] = torch.ones(3)


def odd_channels(theirs: Official) -> None:
    of_synthesis(theirs, "b16").state["_modules"]["conv1"].state["_parameters"]["weight"] = torch.ones(7, 16, 3, 3)


def not_a_number(theirs: Official) -> None:
    of_synthesis(theirs).state["_modules"]["conv0"].state["_parameters"]["bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (relu, "its layers use relu, and ours leaky ReLU only"),
        (longer_filter, "its resampling filter has 6 taps, and ours has 4"),
        (two_clamps, "its blocks differ in architecture or clamping"),
        (two_rates, "the layers of its mapping network learn at different rates"),
        (stylegan3, "it holds a StyleGAN3 generator, and Ganvas reads StyleGAN2"),
        (something_else, "its Generator is no network of StyleGAN2"),
        (no_size, "is not as the official releases write it .*img_resolution"),
        (odd_size, "cannot be built as the file describes it: .*power of two"),
        (missing_weight, r"weights 1 missing \(synthesis.b8.conv0.bias\)"),
        (extra_weight, r"weights 1 unknown \(synthesis.b8.gain\)"),
        (odd_channels, "the channels 16, 16, 7, 8 follow no rule that StyleGAN2 has"),
        (not_a_number, "synthesis.b8.conv0.bias.* NaN or infinite"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_ours_is_said_in_one_sentence(tmp_path: Path, change: Change, says: str) -> None:
    theirs = describe(generator())
    change(theirs)
    path = write(tmp_path / "g.pkl", {"G_ema": theirs})
    with pytest.raises(GanvasError, match=says) as found:
        load_generator(path)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_a_network_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pkl", {"G_ema": generator()})
    with pytest.raises(GanvasError, match="holds no network D, but G_ema: choose one of these"):
        load_foreign(path, "D")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    whole = write(tmp_path / "g.pkl", {"G_ema": generator()}).read_bytes()
    for length in (2, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "half.pkl").write_bytes(whole[:length])
        with pytest.raises(GanvasError, match=r"half.pkl cannot be read as a pickle of networks .*: copy it again"):
            load_generator(tmp_path / "half.pkl")


# --- what would do harm


class Calls:
    """Unpickling this calls ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def nested(harm: object) -> Calls:
    """What PyTorch itself writes for a tensor, with another pickle inside."""
    inner = io.BytesIO()
    torch.save(harm, inner, _use_new_zipfile_serialization=False)
    return Calls(torch.storage._load_from_bytes, inner.getvalue())


def global_opcode(name: str) -> bytes:
    module, _, name = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def extension_opcode() -> bytes:
    copyreg.add_extension("os", "system", 241)
    return b"\x80\x02\x82" + bytes([241]) + text("true") + b"\x85R."


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "alone"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda made: Calls(Path.touch, made), "pathlib.Path.touch"),
        (lambda made: Calls(eval, f"open({str(made)!r}, 'w')"), "builtins.eval"),
        (lambda made: Calls(os.system, f"touch {made}"), "posix.system"),
        (lambda made: Calls(getattr, Calls(__import__, "os"), "system"), "builtins.getattr"),
        (lambda made: nested(Calls(os.system, f"touch {made}")), "posix.system"),
        (lambda made: nested({"a": [Calls(eval, f"open({str(made)!r}, 'w')")]}), "builtins.eval"),
        (lambda made: Calls(torch.load, made), "torch.serialization.load"),
        (lambda made: Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {made}"))), "_pickle.loads"),
    ],
)  # fmt: skip
def test_what_a_hostile_file_calls_is_not_run_and_is_named(
    tmp_path: Path, make: Callable[[Path], object], name: str, inside: bool
) -> None:
    made, path = tmp_path / "made", tmp_path / "g.pkl"
    harm = make(made)
    if inside:
        theirs = describe(generator())
        theirs.state["harm"] = harm
        write(path, {"G_ema": theirs})
    else:
        path.write_bytes(pickle.dumps(harm))
    with pytest.raises(UnsafePickleError) as found:
        load_generator(path)
    assert name.rpartition(".")[2] in str(found.value)
    assert "nothing was run" in str(found.value)
    assert not made.exists()


@pytest.mark.parametrize(
    "program",
    [
        global_opcode("os.system") + text("true") + b"\x85R.",
        b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.",                               # INST
        b"\x80\x04\x8c\x0bcollections\x8c\x18OrderedDict.__subclasses__\x93)R.",         # a dotted name
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",                       # STACK_GLOBAL
        b"\x80\x02Pabc\n.",                                                             # a persistent id
        global_opcode("torch._utils._rebuild_tensor_v2") + b"}" + text("a") + b"K\x01sb.",  # state for a function
        global_opcode("dnnlib.util.EasyDict") + b"}" + text("a") + b"K\x01sb.",             # and for a class
        global_opcode("builtins.eval") + text("1+1") + b"\x85R.",
        global_opcode("torch.storage._load_from_bytes") + b"C\x03abc\x85R.",
    ],
)
def test_tricks_of_the_protocol_are_refused(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "g.pkl"
    path.write_bytes(program)
    with pytest.raises(GanvasError, match=r"g.pkl (asks for|cannot be read as a pickle)"):
        load_generator(path)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x03.", "numbers more objects than it has"),          # LONG_BINPUT: a gigabyte
        (b"\x80\x02Nr\xff\xff\xff\xff.", "numbers more objects than it has"),
        (b"\x80\x02Np67108863\n.", "numbers more objects than it has"),                # PUT
        (b"\x80\x02" + b"N" * 99 + b"r\xc8\0\0\0.", "numbers more objects than it has"),  # after 100 operations
        (b"\x80\x02N" + b"p" + b"9" * 5000 + b"\n.", "4300 digits"),
        (b"\x80\x02Npx\n.", "invalid literal"),
        (b"\x80\x02Np0", "ends within a line"),
        (b"\x80\x02cos\nsystem", "ends within a line"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", "a part is longer"),      # BINBYTES8
        (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "a part is longer"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 33) + b".", "a part is longer"),      # BINUNICODE8
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".", "a part is longer"),      # BYTEARRAY8
        (b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b".", "a part is longer"),      # FRAME
        (b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b".", "a part is longer"),   # LONG4
        (b"\x80\x02\x8b" + struct.pack("<i", -1) + b".", "a part is longer"),
        (b"\x80\x02T" + struct.pack("<i", 1 << 30) + b".", "a part is longer"),          # BINSTRING
        (b"\x80\x02X" + struct.pack("<I", 1 << 31) + b".", "a part is longer"),          # BINUNICODE
        (b"\x80\x02B" + struct.pack("<I", 1 << 31) + b".", "a part is longer"),          # BINBYTES
        (b"\x80\x02C\xff.", "a part is longer"),                                       # SHORT_BINBYTES
        (b"\x80\x02J\0.", "a part is longer"),                                         # BININT
        (b"\x80\x02\xff.", "unknown operation 255"),
        (b"\x80\x02N", "ends too early"),
    ],
)
def test_sizes_beyond_the_file_are_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes, says: str
) -> None:
    monkeypatch.setattr(pickles, "_Unpickler", lambda *_: pytest.fail("the unpickler has seen it"))
    path = tmp_path / "g.pkl"
    path.write_bytes(program)
    with pytest.raises(GanvasError, match=rf"g.pkl cannot be read as a pickle of networks \(.*{says}.*: copy it again"):
        read_pickle(path, OFFICIAL)


@pytest.mark.parametrize("protocol", range(6))
def test_honest_sizes_pass(tmp_path: Path, protocol: int) -> None:
    content = [b"a" * 300, "b" * 70000, 1 << 100, -(1 << 3000), 0.5, -7, [{i: [str(i)]} for i in range(300)], None]
    path = tmp_path / "g.pkl"
    path.write_bytes(pickle.dumps(content, protocol) + b"what follows is nobody's")
    assert read_pickle(path, OFFICIAL) == content


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    theirs = describe(generator()).state["_modules"]["mapping"]
    path, chance, said = tmp_path / "g.pkl", random.Random(4), []
    for protocol in (2, 4):
        whole = write(path, {"G_ema": theirs}, protocol).read_bytes()
        for _ in range(300):
            changed = bytearray(whole)
            changed[chance.randrange(len(whole))] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            try:
                read_pickle(path, OFFICIAL)
            except GanvasError as error:
                said.append(str(error))
    assert said
    assert not any("\n" in sentence for sentence in said)


def test_a_pickle_cut_anywhere_is_damaged_and_not_hostile(tmp_path: Path) -> None:
    theirs, path = describe(generator()).state["_modules"]["mapping"], tmp_path / "g.pkl"
    for protocol in (2, 4):
        whole = write(path, {"G_ema": theirs}, protocol).read_bytes()
        for length in range(1, len(whole), 11):
            path.write_bytes(whole[:length])
            with pytest.raises(GanvasError, match=r"g.pkl cannot be read as a pickle of networks .*: copy it again"):
                read_pickle(path, OFFICIAL)


def test_an_extension_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.pkl"
    try:
        path.write_bytes(extension_opcode())
        with pytest.raises(UnsafePickleError, match=r"asks for os.system"):
            load_generator(path)
    finally:
        copyreg.remove_extension("os", "system", 241)


def test_a_pickle_cannot_change_what_stands_behind_its_names(tmp_path: Path) -> None:
    # BUILD with a pair of states calls setattr on its target: on a function or a class of ours that would stay.
    for module, name in OFFICIAL:
        program = global_opcode(f"{module}.{name}") + b"N}" + text("truth") + b"K\x01s\x86b."
        (tmp_path / "g.pkl").write_bytes(program)
        with pytest.raises(GanvasError):
            load_generator(tmp_path / "g.pkl")
        assert not hasattr(OFFICIAL[module, name], "truth")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (100,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (3, (2,), (1,)), (0, (1 << 40,), (0,)), (0, (5,), (0,))],
)
def test_a_tensor_cannot_reach_beyond_its_storage(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    storage = torch.arange(4.0).untyped_storage()
    call = Calls(torch._utils._rebuild_tensor_v2, torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32),
                 offset, size, stride, False, None)  # fmt: skip
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(call))
    with pytest.raises(GanvasError, match="cannot be read as a pickle of networks"):
        read_pickle(tmp_path / "t.pkl", OFFICIAL)


def test_modules_without_an_end_are_refused(tmp_path: Path) -> None:
    # An object whose only module, b4, is itself.
    (tmp_path / "g.pkl").write_bytes(
        global_opcode("torch_utils.persistence._reconstruct_persistent_obj")
        + b"}" + text("class_name") + text("Generator") + b"s"
        + text("state") + b"}" + text("_modules") + b"}q\x01ss\x85Rq\x02"
        + b"h\x01" + text("b4") + b"h\x02s0."
    )  # fmt: skip
    with pytest.raises(GanvasError, match="nested without an end"):
        load_generator(tmp_path / "g.pkl")


def test_a_tensorflow_pickle_is_sent_to_its_converter(tmp_path: Path) -> None:
    (tmp_path / "g.pkl").write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81.")
    with pytest.raises(GanvasError, match=r"is a TensorFlow network: .* legacy.py of stylegan2-ada-pytorch first"):
        load_generator(tmp_path / "g.pkl")
