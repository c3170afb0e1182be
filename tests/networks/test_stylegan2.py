"""What the networks promise: spaces, truncation, noise, features, precision, and sentences for wrong calls."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from networks.latent import Latent
from networks.protocol import Generator as GeneratorProtocol
from networks.stylegan2 import Discriminator, Generator, LeanDiscriminator, LeanEncoder
from networks.stylegan2.discriminator import minibatch_std
from networks.stylegan2.lean_discriminator import LEAN_CHANNELS, default_channels
from networks.stylegan2.mapping import MappingNetwork
from networks.stylegan2.resolutions import block_channels, lean_channel_base

ARCHITECTURES = ("skip", "resnet", "orig")
TINY = {"z_dim": 8, "w_dim": 12, "mapping_layers": 2, "channel_base": 256, "channel_max": 16}


def tiny(resolution: int = 16, **arguments: object) -> Generator:
    torch.manual_seed(0)
    G = Generator(resolution, **{**TINY, **arguments}).eval().requires_grad_(False)
    for name, value in G.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.3)  # starts at 0, where noise would not show
    G.mapping.w_avg.normal_()
    return G


def test_it_is_a_generator() -> None:
    assert isinstance(tiny(), GeneratorProtocol)


def test_config_rebuilds_it_and_forgets_no_argument() -> None:
    G = tiny(32, architecture="resnet", conv_clamp=256.0)
    assert G.config.keys() | {"channels"} == inspect.signature(Generator).parameters.keys()
    again = Generator(**G.config)
    again.load_state_dict(G.state_dict())
    latent = G.sample(2, 0)
    torch.testing.assert_close(again.eval().render(latent), G.render(latent))


@torch.no_grad()
def test_channels_may_be_given_one_by_one() -> None:
    channels = [4, 12, 8, 20]
    G, D = tiny(32, channels=channels), Discriminator(32, channels=channels, mbstd_group_size=2).eval()
    assert [count for name, (count, _) in G.feature_shapes.items() if name.endswith("conv1")] == channels
    assert [len(getattr(D, f"b{r}").conv0.weight) for r in (8, 16, 32)] == channels[1:]
    assert len(D.b4.conv.weight) == channels[0]
    assert D(G.render(G.sample(2, 0))).shape == (2, 1)
    for network in (G, D):
        again = type(network)(**network.config)
        again.load_state_dict(network.state_dict())
        assert again.config["channels"] == channels


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_channels_of_the_rule_are_not_part_of_the_config(network: type[torch.nn.Module]) -> None:
    # Else bundles would describe themselves otherwise than before.
    assert "channels" not in network(16, channel_base=256, channel_max=16).config


@pytest.mark.parametrize("channels", [[], [8, 8], [8, 8, 8, 8], [8, 0, 8]])
@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_channels_that_are_not_one_for_each_resolution(network: type[torch.nn.Module], channels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"channels must be 3 positive counts, of 4, 8, ..., 16, got \["):
        network(16, channels=channels)


# --- spaces


@pytest.mark.parametrize(("up_to", "size"), [(32, 32), (63, 32), (4, 4), (1, 4), (64, 64), (256, 64)])
def test_what_stops_at_a_resolution_is_exact(up_to: int, size: int) -> None:
    G, seen = tiny(64), {}
    for block in G.synthesis.blocks():
        block.register_forward_hook(lambda block, _, out: seen.update({block.resolution: out[1]}))
    latent = G.sample(2, 0)
    whole = G.render(latent)
    images = dict(seen)
    seen.clear()
    stopped, maps = G.render(latent, features=True, up_to=up_to)
    assert torch.equal(stopped, images[size])
    assert max(seen) == size  # finer blocks are not computed
    assert maps.keys() == {name for name, (_, r) in G.feature_shapes.items() if r <= size}
    assert torch.equal(images[64], whole)
    coarse = {path: x for path, x in G.in_styles(latent).tensors.items() if int(path[1:].partition(".")[0]) <= size}
    assert torch.equal(G.synthesis.from_styles(coarse, up_to=up_to), stopped)


@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_an_architecture_without_coarser_images_renders_the_whole(architecture: str) -> None:
    G = tiny(32, architecture=architecture)
    latent = G.sample(1, 0)
    assert torch.equal(G.render(latent, up_to=8), G.render(latent))


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_codes_of_every_space_come_into_s_with_their_noise(space: str) -> None:
    G = tiny(16)
    z = torch.randn(2, 8)
    ws = G.mapping(z)
    tensors = {"z": {"z": z}, "w": {"w": ws[:, 0]}, "w+": {"ws": ws}, "s": G.synthesis.styles(ws)}[space]
    latent = Latent(space, tensors).with_noise({"b16.conv1": torch.randn(2, 16, 16)})
    found = G.in_styles(latent)
    assert found.space == "s"
    torch.testing.assert_close(G.render(found), G.render(latent))
    with pytest.raises(ValueError, match="renders z, w"):
        G.in_styles(Latent("layout", {"centre": torch.zeros(1, 1, 2)}))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_styles_are_enough_for_the_image(architecture: str) -> None:
    G = tiny(32, architecture=architecture)
    ws = G.sample(3, 0).tensors["ws"]
    styles = G.synthesis.styles(ws)
    torch.testing.assert_close(G.synthesis.from_styles(styles), G.synthesis(ws))
    torch.testing.assert_close(G.render(Latent("s", styles)), G.render(Latent("w+", {"ws": ws})))


def test_every_space_renders_the_same_image() -> None:
    G, z = tiny(), torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    w = G.mapping(z)[:, 0]
    expected = G(z)
    torch.testing.assert_close(G.render(Latent("z", {"z": z})), expected)
    torch.testing.assert_close(G.render(Latent("w", {"w": w})), expected)
    with pytest.raises(ValueError, match="StyleGAN2 renders z, w, w\\+ and s, not 'layout'"):
        G.render(Latent("layout", {"x": w}))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torgb_shares_its_row_with_the_next_convolution(architecture: str) -> None:
    rows = tiny(32, architecture=architecture).synthesis.style_rows()
    convolutions = [name for name in rows if "conv" in name]
    assert [rows[name] for name in convolutions] == list(range(7))
    assert rows["b32.torgb"] == 7
    if architecture == "skip":
        assert all(rows[f"b{r}.torgb"] == rows[f"b{2 * r}.conv0"] for r in (4, 8, 16))


def test_a_row_reaches_only_its_own_layers_and_later() -> None:
    G = tiny(32)
    ws = G.sample(1, 0).tensors["ws"]
    moved = ws.clone()
    moved[:, 5] += 1  # conv0 of the 32x32 block, torgb of the 16x16 one
    before, after = (G.synthesis(x, features=True) for x in (ws, moved))
    same = [name for name in before[1] if torch.equal(before[1][name], after[1][name])]
    assert same == ["b4.const", "b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    assert not torch.equal(before[0], after[0])


# --- mapping


def test_truncation_goes_from_the_mean_to_w() -> None:
    G, z = tiny(), torch.randn(2, 8)
    whole, mean, half = (G.mapping(z, truncation=psi) for psi in (1.0, 0.0, 0.5))
    torch.testing.assert_close(mean, G.w_avg.expand_as(mean))
    torch.testing.assert_close(half, (whole + mean) / 2)


@pytest.mark.parametrize("cutoff", [0, 2, 6])
def test_cutoff_truncates_only_the_first_rows(cutoff: int) -> None:
    G, z = tiny(), torch.randn(2, 8)
    whole, truncated = G.mapping(z), G.mapping(z, truncation=0.3)
    mixed = G.mapping(z, truncation=0.3, cutoff=cutoff)
    torch.testing.assert_close(mixed[:, :cutoff], truncated[:, :cutoff])
    torch.testing.assert_close(mixed[:, cutoff:], whole[:, cutoff:])


def test_mean_of_w_moves_only_when_asked() -> None:
    mapping, z = MappingNetwork(8, 0, 12, 6, num_layers=1, w_avg_beta=0.75), torch.randn(64, 8)
    ws = mapping(z)
    assert mapping.w_avg.abs().sum() == 0
    mapping(z, update_w_avg=True)
    torch.testing.assert_close(mapping.w_avg, 0.25 * ws[:, 0].mean(0))


def test_labels_change_the_image() -> None:
    G = tiny(c_dim=3)
    a, b = (G.sample(2, 0, label=torch.eye(3)[[i, i]]) for i in (0, 1))
    assert torch.equal(a.label, torch.eye(3)[[0, 0]])
    assert not torch.allclose(G.render(a), G.render(b))
    assert torch.equal(G.sample(4, 0).label, torch.eye(3)[[0, 1, 2, 0]])  # the classes in turn, if nothing is said
    with pytest.raises(ValueError, match=r"c must be \[N, 3\], got None"):
        G.mapping(torch.zeros(1, 8))
    with pytest.raises(ValueError, match=r"c must be \[N, 3\], got \[2, 2\]"):
        G.sample(2, 0, label=torch.eye(2))


def test_item_depends_only_on_seed_and_index() -> None:
    G = tiny()
    one, many, other = (G.sample(n, seed).tensors["ws"] for n, seed in ((1, 5), (7, 5), (7, 6)))
    torch.testing.assert_close(one[0], many[0])
    torch.testing.assert_close(G.sample(7, 5).tensors["ws"], many, rtol=0, atol=0)
    torch.testing.assert_close(G.sample(3, 5, first=4).tensors["ws"], many[4:])
    flat = torch.cat([many, other]).flatten(1)
    assert (torch.cdist(flat, flat) + torch.eye(14) > 0.1).all()  # no two items alike
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        G.sample(0, 0)


def test_sampling_leaves_the_global_random_state_alone() -> None:
    G, before = tiny(), torch.get_rng_state()
    G.sample(3, 0)
    assert torch.equal(torch.get_rng_state(), before)


# --- noise


def test_noise_modes() -> None:
    G = tiny()
    ws = G.sample(2, 0).tensors["ws"]
    const, again, none = (G.synthesis(ws, noise=mode) for mode in ("const", "const", "none"))
    assert torch.equal(const, again)
    assert not torch.allclose(const, none)
    torch.manual_seed(1)
    first, second = G.synthesis(ws, noise="random"), G.synthesis(ws, noise="random")
    assert not torch.allclose(first, second)
    torch.manual_seed(1)
    assert torch.equal(G.synthesis(ws, noise="random"), first)
    with pytest.raises(ValueError, match=r"noise must be const, random, none, a torch\.Generator or maps"):
        G.synthesis(ws, noise="some")


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_a_noise_seed_gives_its_own_image_again_and_again(space: str) -> None:
    G = tiny(32)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(3))
    ws = G.mapping(z)
    tensors = {"z": {"z": z}, "w": {"w": ws[:, 0]}, "w+": {"ws": ws}, "s": G.synthesis.styles(ws)}[space]
    stored, one, other = (Latent(space, tensors, noise_seed=seed) for seed in (None, 1, 2))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    image, features = G.render(one, features=True)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)  # whatever else is drawn does not matter
    assert torch.equal(G.render(one), image)
    torch.testing.assert_close(G.render(one[2]), image[2:])  # nor does the batch
    for different in (G.render(stored), G.render(other)):
        assert (different - image).abs().mean() > 0.01
    assert not torch.allclose(features["b4.conv1"], G.render(stored, features=True)[1]["b4.conv1"])


def test_latents_of_different_noise_are_not_joined() -> None:
    seeded, stored = (Latent("w", {"w": torch.zeros(1, 12)}, noise_seed=seed) for seed in (1, None))
    assert Latent.cat([seeded, seeded]).noise_seed == 1
    with pytest.raises(ValueError, match="noise cannot be joined"):
        Latent.cat([seeded, stored])


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_noise_of_the_latent_stands_before_all_other(space: str) -> None:
    G = tiny()
    z = torch.randn(3, 8)
    ws = G.mapping(z)
    tensors = {"z": {"z": z}, "w": {"w": ws[:, 0]}, "w+": {"ws": ws}, "s": G.synthesis.styles(ws)}[space]
    plain = Latent(space, tensors)
    assert G.noise_maps().keys() == G.feature_shapes.keys() - {"b4.const"}
    stored = plain.with_noise({layer: m.expand(3, -1, -1) for layer, m in G.noise_maps().items()})
    torch.testing.assert_close(G.render(stored), G.render(plain))
    torch.testing.assert_close(G.render(replace(stored, noise_seed=1)), G.render(plain))
    mine = plain.with_noise({"b8.conv0": torch.randn(3, 8, 8)})
    image = G.render(mine)
    assert (image - G.render(plain)).abs().mean() > 1e-3
    torch.testing.assert_close(G.render(mine[2]), image[2:])  # each item has its own
    torch.testing.assert_close(G.render(Latent.cat([mine[:1], mine[1:]])), image)
    seeded = replace(mine, noise_seed=1)  # the other layers follow the seed
    assert (G.render(seeded) - image).abs().mean() > 1e-3
    assert torch.equal(mine.with_noise({}).tensors[next(iter(tensors))], next(iter(tensors.values())))
    assert mine.with_noise({}).noise == {}


def test_noise_that_does_not_fit_is_named() -> None:
    G = tiny()
    one = G.sample(1, 0)
    with pytest.raises(ValueError, match=r"noise maps must be \[1, 8, 8\], got \[1, 4, 4\]"):
        G.render(one.with_noise({"b8.conv0": torch.zeros(1, 4, 4)}))
    for layer in ("b4.const", "b512.conv0"):
        with pytest.raises(ValueError, match=f"there is no layer {layer} in this generator"):
            G.render(one.with_noise({layer: torch.zeros(1, 4, 4)}))
    with pytest.raises(ValueError, match="noise cannot be joined"):
        Latent.cat([one, one.with_noise({"b8.conv0": torch.zeros(1, 8, 8)})])


def test_random_noise_differs_between_images() -> None:
    G = tiny()
    ws = G.sample(1, 0).tensors["ws"].repeat(2, 1, 1)
    a, b = G.synthesis(ws, noise="random")
    assert not torch.allclose(a, b)


# --- sizes, features


@pytest.mark.parametrize("log2", range(4, 11))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_size_derives_its_layers(log2: int, architecture: str) -> None:
    with torch.device("meta"):
        G = Generator(2**log2, **{**TINY, "channel_base": 4096}, architecture=architecture)
        images, features = G.synthesis(torch.empty(2, G.num_ws, 12), features=True)
    assert G.num_ws == 2 * log2 - 2
    assert images.shape == (2, 3, 2**log2, 2**log2)
    assert {name: (x.shape[1], x.shape[2]) for name, x in features.items()} == G.feature_shapes
    assert list(features) == list(G.feature_shapes)
    assert len(features) == 2 * log2 - 2


def test_feature_names_are_module_paths_coarse_to_fine() -> None:
    assert list(tiny().feature_shapes) == ["b4.const", "b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]


def test_constant_features_are_those_that_never_change() -> None:
    G = tiny()
    maps = G.render(G.sample(4, 0), features=True)[1]
    assert {name for name, x in maps.items() if torch.equal(x[0], x[1])} == G.constant_features


def test_asking_for_features_changes_nothing() -> None:
    G = tiny()
    latent = G.sample(2, 0)
    assert torch.equal(G.render(latent, features=True)[0], G.render(latent))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_single_images_are_those_of_a_batch_in_double_precision(architecture: str) -> None:
    """A single image's style goes to the weights, a batch's to the maps."""
    G = tiny(architecture=architecture).double()
    styles = {name: s.double() for name, s in G.float().synthesis.styles(G.sample(2, 0).tensors["ws"]).items()}
    G.double()
    for block in G.synthesis.blocks():
        block.dtype = torch.float64
    _, batch = G.synthesis.from_styles(styles, features=True)
    for i in range(2):
        _, single = G.synthesis.from_styles({path: s[i : i + 1] for path, s in styles.items()}, features=True)
        for name in batch:
            torch.testing.assert_close(single[name][0], batch[name][i])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_channels_last_holds_through_the_network(architecture: str) -> None:
    G = tiny(32, architecture=architecture, channels_last=True)
    latent = G.sample(2, 0)
    images, features = G.render(latent, features=True)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in features.values())
    G.synthesis.memory_format = torch.contiguous_format
    torch.testing.assert_close(images, G.render(latent), rtol=1e-4, atol=1e-5)


# --- precision


# float16 is for GPUs (tests/test_gpu.py): on a CPU such blocks compute in single precision.
@pytest.mark.parametrize(
    ("half_dtype", "computes_in", "tolerance"), [("float16", "float32", 1e-9), ("bfloat16", "bfloat16", 0.06)]
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_blocks_stay_close(
    architecture: str, half_dtype: str, computes_in: str, tolerance: float
) -> None:
    arguments = {"architecture": architecture, "conv_clamp": 256.0}
    full, half = tiny(32, **arguments), tiny(32, **arguments, num_fp16_res=2, half_dtype=half_dtype)
    latent = full.sample(3, 0)
    expected, (images, features) = full.render(latent), half.render(latent, features=True)
    assert images.dtype == torch.float32
    assert features["b32.conv1"].dtype == getattr(torch, computes_in)
    assert features["b8.conv1"].dtype == torch.float32
    assert (images - expected).abs().mean() < tolerance * expected.abs().mean()


@pytest.mark.parametrize(("half_dtype", "tolerance"), [("float16", 1e-9), ("bfloat16", 0.06)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_discriminator_stays_close(architecture: str, half_dtype: str, tolerance: float) -> None:
    arguments = {"channel_base": 256, "channel_max": 16, "architecture": architecture, "conv_clamp": 256.0}
    torch.manual_seed(0)
    full = Discriminator(32, **arguments)
    half = Discriminator(32, **arguments, num_fp16_res=2, half_dtype=half_dtype)
    half.load_state_dict(full.state_dict())
    images = torch.randn(4, 3, 32, 32)
    expected, logits = full(images), half(images)
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < tolerance * (1 + expected.abs().max())


def test_clamp_bounds_every_map() -> None:
    G = tiny(conv_clamp=0.5)
    features = G.render(G.sample(2, 0), features=True)[1]
    assert max(x.abs().max().item() for name, x in features.items() if name != "b4.const") == 0.5


# --- discriminators


def test_minibatch_std_is_the_mean_deviation_of_the_group() -> None:
    x = torch.randn(6, 2, 4, 4)
    y = minibatch_std(x, group_size=3)
    groups = [x[i::2].std(dim=0, correction=0).mean() for i in range(2)]
    assert torch.equal(y[:, :2], x)
    torch.testing.assert_close(y[:, 2, 0, 0], torch.stack(groups).repeat(3), rtol=1e-4, atol=1e-5)
    assert torch.equal(minibatch_std(x, group_size=None), minibatch_std(x, group_size=64))
    with pytest.raises(ValueError, match="the batch of 6 is not a multiple of the mini-batch std group of 4"):
        minibatch_std(x, group_size=4)


def test_without_minibatch_std_images_are_judged_one_by_one() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 16, 16)
    for D in (LeanDiscriminator(16, channels=(4, 4), mbstd_group_size=0),
              Discriminator(16, channel_base=256, channel_max=8, mbstd_group_size=0)):  # fmt: skip
        torch.testing.assert_close(torch.cat([D(x[None]) for x in images]), D(images))


def test_labels_change_the_logit() -> None:
    torch.manual_seed(0)
    D, images = Discriminator(16, c_dim=3, channel_base=256, channel_max=8), torch.randn(2, 3, 16, 16)
    a, b = (D(images, torch.eye(3)[[i, i]]) for i in (0, 1))
    assert a.shape == (2, 1)
    assert not torch.allclose(a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Generator(20), "img_resolution must be a power of two of at least 16, got 20"),
        (lambda: Generator(16, **TINY, architecture="wide"), "architecture must be orig, skip or resnet, got 'wide'"),
        (lambda: Generator(16, **TINY, half_dtype="tf32"), "half_dtype must be float16 or bfloat16, got 'tf32'"),
        (lambda: tiny().mapping(torch.zeros(2, 9)), r"z must be \[N, 8\], got \[2, 9\]"),
        (lambda: tiny().mapping(None), r"z must be \[N, 8\], got None"),
        (lambda: tiny().synthesis(torch.zeros(2, 5, 12)), r"ws must be \[N, 6, 12\], got \[2, 5, 12\]"),
        (lambda: tiny().synthesis.from_styles({"b4.conv1": torch.zeros(1, 16)}), r"styles lack b16\.conv0, b16\.conv1"),
        (lambda: Discriminator(20), "img_resolution must be a power of two of at least 16, got 20"),
        (lambda: Discriminator(16, architecture="wide"), "architecture must be orig, skip or resnet, got 'wide'"),
        (lambda: Discriminator(16, channel_base=64)(torch.zeros(1, 1, 16, 16)),
         r"img must be \[N, 3, 16, 16\], got \[1, 1, 16, 16\]"),
        (lambda: LeanDiscriminator(64, channels=(4, 4)), "2 fit 16 pixels, not 64"),
        (lambda: LeanDiscriminator(48), "3 fit 32 pixels, not 48"),
        (lambda: LeanDiscriminator(16, channels=(4, 4))(torch.zeros(1, 3, 8, 8)),
         r"img must be \[N, 3, 16, 16\], got \[1, 3, 8, 8\]"),
        (lambda: LeanDiscriminator(16, channels=(4, 4))(torch.zeros(1, 3, 16, 16), torch.zeros(1, 2)),
         "this discriminator takes no labels: its c_dim is 0"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- networks for small compute at every resolution


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
def test_the_lean_networks_fit_every_resolution_by_default(resolution: int) -> None:
    img = torch.zeros(1, 3, resolution, resolution)
    assert LeanDiscriminator(resolution)(img).shape == (1, 1)
    assert LeanEncoder(resolution, 4)(img).shape == (1, 4)
    G = Generator(resolution, z_dim=4, w_dim=4, mapping_layers=1, channel_base=0, channel_max=128)
    assert Generator(**G.config).synthesis.feature_shapes == G.synthesis.feature_shapes


def test_the_lean_networks_are_the_zoo_s_at_64() -> None:
    trunk = [block.conv0.weight.shape[1] for block in LeanDiscriminator(64).blocks]
    assert trunk == [64, 96, 128]
    assert LeanEncoder(64, 4).config["channels"] == [48, 64, 96, 128]
    G = Generator(64, z_dim=4, w_dim=4, channel_base=0, channel_max=128)
    assert G.config["channel_base"] == 2048


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_the_lean_networks_get_narrower_where_images_are_finer(resolution: int) -> None:
    for counts in (default_channels(resolution, LEAN_CHANNELS), LeanEncoder(resolution, 4).config["channels"]):
        assert len(counts) == resolution.bit_length() - 3
        assert counts == sorted(counts)
    assert block_channels(resolution, lean_channel_base(resolution), 128)[resolution] == 16
