"""GAN training: resumed equals uninterrupted, the averages and rates, divergence, and whose gradient moves what."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules.images import GANImages, ImageSet
from networks.augment import AdaptiveAugment, Augment, DiffAugment
from networks.gan_losses import auto_r1_gamma, discriminator_loss, generator_loss, sanitise_gradients
from networks.stylegan2 import Discriminator, Generator, LeanDiscriminator, LeanEncoder
from trainers.adversarial import Drawn
from trainers.code_game import CodeGame
from trainers.diverged import DivergedError
from trainers.gan_callbacks import EveryImages, StopAtTotal, draw_samples, save_last
from trainers.stylegan2 import StyleGAN2Trainer

BATCH = 4
IMAGES = torch.randint(0, 256, (11, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def tiny(total: int = 24, channels_last: bool = True, **arguments: object) -> StyleGAN2Trainer:
    torch.manual_seed(0)
    G = Generator(16, z_dim=4, w_dim=4, mapping_layers=1, channel_base=128, channel_max=8, channels_last=channels_last)
    D = LeanDiscriminator(16, channels=(4, 4))
    return StyleGAN2Trainer(G, D, total, **{"r1_interval": 2, "style_mixing": 0.5, "noise": "random", **arguments})


def with_encoder(total: int = 24, **arguments: object) -> StyleGAN2Trainer:
    torch.manual_seed(1)
    return tiny(total, encoder=LeanEncoder(16, 4, channels=(4, 4)), **arguments)


def with_everything(total: int = 24, **arguments: object) -> StyleGAN2Trainer:
    return tiny(total, path_weight=2.0, path_interval=2, augment=DiffAugment(), **arguments)


def with_ada(total: int = 24, **arguments: object) -> StyleGAN2Trainer:
    return tiny(total, augment=AdaptiveAugment(interval=3, full_images=100, p=0.5), **arguments)


def conditional(total: int = 24, **arguments: object) -> StyleGAN2Trainer:
    torch.manual_seed(0)
    G = Generator(16, z_dim=4, w_dim=8, c_dim=2, mapping_layers=2, mapping_lr_mult=1.0, channel_base=128, channel_max=8)
    D = LeanDiscriminator(16, channels=(8, 8), c_dim=2)
    return StyleGAN2Trainer(G, D, total, **{"r1_interval": 2, "style_mixing": 0.5, "path_weight": 1.0, **arguments})


def fit(module: StyleGAN2Trainer, callbacks: Sequence[pl.Callback] = (), resume: Path | None = None,
        images: Tensor = IMAGES, labels: Tensor | None = None, precision: str = "32-true") -> None:  # fmt: skip
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[StopAtTotal(), *callbacks], precision=precision,
    )  # fmt: skip
    if labels is None and module.G.c_dim:
        labels = torch.eye(2)[torch.arange(len(images)) % 2]
    data = ImageSet(images.numpy(), None if labels is None else labels.numpy())
    trainer.fit(module, GANImages(data, BATCH, seed=0), ckpt_path=resume, weights_only=True)


def assert_same(a: StyleGAN2Trainer, b: StyleGAN2Trainer) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0, msg=name)


# --- the clock


@pytest.mark.parametrize("make", [tiny, with_encoder, with_everything, with_ada, conditional])
@pytest.mark.parametrize("interruption", [8, 12])  # after an odd and an even number of R1 steps, in mid-epoch
def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    interruption: int, make: Callable[[], StyleGAN2Trainer], tmp_path: Path
) -> None:
    whole = make()
    fit(whole)
    last = tmp_path / "last.ckpt"

    def interrupt(module: StyleGAN2Trainer) -> None:
        if module.images_seen == interruption:
            save_last(last)(module)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(make(), [EveryImages(BATCH, interrupt)])
    resumed = make()
    fit(resumed, resume=last)
    assert resumed.images_seen == whole.images_seen == 24
    assert_same(resumed, whole)


def test_a_finished_run_resumed_does_nothing(tmp_path: Path) -> None:
    first = tiny(total=8)
    fit(first, [EveryImages(BATCH, save_last(tmp_path / "last.ckpt"))])
    again = tiny(total=8)
    fit(again, resume=tmp_path / "last.ckpt")
    assert_same(again, first)


def test_the_seed_decides_every_draw() -> None:
    a, b, other = (tiny(total=8, seed=seed) for seed in (0, 0, 1))
    for module in (a, b, other):
        fit(module)  # the same images for all: what differs are latents and noise
    assert_same(a, b)
    assert not torch.equal(a.G.synthesis.b16.conv1.weight, other.G.synthesis.b16.conv1.weight)


@pytest.mark.parametrize(
    ("interval", "at_end", "calls"), [(8, True, [8, 16, 20]), (8, False, [8, 16]), (6, True, [8, 12, 20]),
                                      (10, False, [12]), (100, True, [20]), (1, False, [4, 8, 12, 16])]
)  # fmt: skip
def test_actions_come_whenever_a_multiple_is_passed(interval: int, at_end: bool, calls: list[int]) -> None:
    seen: list[int] = []
    fit(tiny(total=20), [EveryImages(interval, lambda module: seen.append(module.images_seen), at_end)])
    assert seen == calls


# --- averages and rates


def test_the_average_ramps_up_to_its_halflife() -> None:
    module = tiny(ema_halflife=100.0, ema_rampup=0.1)
    decays = []
    for seen in (40, 500, 1000, 100_000):
        module.clock.fill_(seen)
        decays.append(module._ema_decay(10))
    assert decays == pytest.approx([0.5 ** (10 / 4), 0.5 ** (10 / 50), 0.5 ** (10 / 100), 0.5 ** (10 / 100)])
    module.ema_rampup = None
    module.clock.fill_(10)
    assert module._ema_decay(10) == pytest.approx(0.5 ** (10 / 100))


def test_the_average_follows_the_generator() -> None:
    module = tiny(total=8, ema_rampup=None, ema_halflife=BATCH)  # half of it stays each step
    start = module.G.synthesis.b16.conv1.weight.detach().clone()
    seen: list[Tensor] = []
    fit(module, [EveryImages(BATCH, lambda m: seen.append(m.G.synthesis.b16.conv1.weight.detach().clone()))])
    torch.testing.assert_close(module.G_ema.synthesis.b16.conv1.weight, start / 4 + seen[0] / 4 + seen[1] / 2)
    torch.testing.assert_close(module.G_ema.w_avg, module.G.w_avg, rtol=0, atol=0)
    assert not module.G_ema.training
    assert not any(p.requires_grad for p in module.G_ema.parameters())


def test_rates_fall_in_the_last_half() -> None:
    module = tiny(total=1000, final_lr=0.2)
    shares = []
    for seen in (0, 500, 750, 1000):
        module.clock.fill_(seen)
        shares.append(module.rate())
    assert shares == pytest.approx([1, 1, 0.6, 0.2])


def test_lazy_regularisation_scales_the_discriminator_s_optimiser() -> None:
    g, d = tiny(lr_g=0.1, lr_d=0.2, r1_interval=4).configure_optimizers()
    assert (g.defaults["lr"], g.defaults["betas"]) == (0.1, (0.0, 0.99))
    assert d.defaults["lr"] == pytest.approx(0.2 * 4 / 5)
    assert d.defaults["betas"][1] == pytest.approx(0.99 ** (4 / 5))


# --- gradients


class Frozen:
    """An optimiser that only clears gradients, so that they can be read."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)

    def zero_grad(self, set_to_none: bool) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Leave the weights."""


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_a_step_takes_each_network_s_own_gradient(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, real = tiny(channels_last=False, loss=loss), torch.randn(BATCH, 3, 16, 16)
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)  # on one device
    monkeypatch.setattr(module, "manual_backward", lambda loss, **k: loss.backward(**k))
    g, d = (list(network.parameters()) for network in (module.G, module.D))
    fake = module.G.synthesis(module._latents(BATCH, None), noise="const")
    own_g = torch.autograd.grad(generator_loss(module.D(fake), loss), g, retain_graph=True)
    own_d = torch.autograd.grad(discriminator_loss(module.D(real), module.D(fake.detach()), loss), d)
    _, gradient = module._judge(real, None, Drawn(fake, None), Frozen(d))
    fake.backward(gradient)
    for parameter, expected in zip([*g, *d], [*own_g, *own_d], strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)


FLAT = IMAGES[:, :, :1, :1].expand(-1, -1, 16, 16)


def test_the_encoder_learns_to_reconstruct() -> None:
    seen: list[float] = []
    module = with_encoder(total=60 * BATCH, lr_g=0.01, reconstruction=50.0, code_steps=1)
    fit(module, [EveryImages(BATCH, lambda module: seen.append(module.figures["reconstruction"]))], images=FLAT)
    assert sum(seen[-10:]) < 0.5 * sum(seen[:10])


def test_the_mapping_learns_the_encoder_s_distribution_and_nothing_else_moves_it() -> None:
    module = with_encoder(total=8, code_steps=0)
    before = copy.deepcopy(module.G.mapping.state_dict())
    fit(module)
    torch.testing.assert_close(module.G.mapping.fc0.weight, before["fc0.weight"], rtol=0, atol=0)


def test_the_mapping_finds_clusters() -> None:
    torch.manual_seed(0)
    mapping = Generator(16, z_dim=16, w_dim=16, mapping_layers=3, mapping_lr_mult=1.0, channel_max=4).mapping
    game = CodeGame(code_dim=16, queue=256)
    codes = 0.1 * torch.randn(256, 16)
    codes[:, 0] = 5 * torch.randn(256).sign()
    game.add(codes)
    sides = [torch.optim.Adam(side.parameters(), lr=2e-3, betas=(0.0, 0.99)) for side in (mapping, game.critic)]
    game.play(800, lambda z: mapping(z)[:, 0], 16, *sides, lambda side: side.step())
    w = mapping(torch.randn(512, 16))[:, 0]
    assert (w[:, 0].abs() - 5).abs().median() < 2  # 2.6 for a Gaussian of the same mean and variance
    assert 0.25 < (w[:, 0] > 0).float().mean() < 0.75
    assert w[:, 1:].abs().median() < 0.5


def test_the_queue_keeps_the_latest_codes() -> None:
    game = CodeGame(code_dim=1, queue=4)
    for start in (0, 3):
        game.add(torch.arange(start, start + 3.0)[:, None])
    assert game.codes.flatten().tolist() == [3, 4, 5, 0]
    assert int(game.filled) == 4


def test_the_encoder_s_average_follows_it() -> None:
    module = with_encoder(total=BATCH, ema_rampup=None, ema_halflife=BATCH)
    start = module.E.out.weight.detach().clone()
    fit(module)
    torch.testing.assert_close(module.E_ema.out.weight, (start + module.E.out.weight.detach()) / 2)


def test_hinge_trains() -> None:
    module = tiny(loss="hinge")
    before = module.G.synthesis.b4.const.detach().clone()
    fit(module)
    assert not torch.equal(before, module.G.synthesis.b4.const)
    assert module.figures.keys() >= {"loss_d", "loss_g", "real_sign"}


def test_official_discriminator_trains() -> None:
    module = StyleGAN2Trainer(tiny().G, Discriminator(16, channel_base=128, channel_max=8), 8)
    before = module.D.b16.conv0.weight.detach().clone()
    fit(module)
    assert module.images_seen == 8
    assert not torch.equal(module.D.b16.conv0.weight, before)


# --- labels


def test_a_class_is_drawn_for_its_label() -> None:
    """Images of class 0 are dark, those of class 1 light: so must be the samples."""
    images = (torch.arange(8)[:, None, None, None] % 2 * 255).expand(8, 3, 16, 16).to(torch.uint8).contiguous()
    module = conditional(total=100 * BATCH, path_weight=0.0, noise="none", lr_g=5e-3, lr_d=5e-3, r1_gamma=0.1)
    fit(module, images=images)
    label = torch.eye(2)[torch.arange(16) % 2]
    drawn = module.G_ema.render(module.G_ema.sample(16, 0, label)).mean((1, 2, 3))
    assert drawn[1::2].min() > drawn[::2].max() + 0.5


def test_samples_are_judged_with_the_labels_they_were_drawn_for(monkeypatch: pytest.MonkeyPatch) -> None:
    module = conditional(total=BATCH, style_mixing=0.0)
    drawn, judged = [], []
    mapping, judge = module.G.mapping.forward, module.D.forward
    monkeypatch.setattr(module.G.mapping, "forward", lambda z, c, **k: (drawn.append(c), mapping(z, c, **k))[1])
    monkeypatch.setattr(module.D, "forward", lambda x, c: (judged.append(c), judge(x, c))[1])
    labels = torch.eye(2)[torch.tensor([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])]
    fit(module, labels=labels)
    assert torch.equal(drawn[0], judged[0])                         # the samples'
    assert torch.equal(drawn[0].sum(0), judged[1].sum(0))           # are the images', in some order
    assert torch.equal(judged[1], judged[2])                        # R1 is on the images


# --- penalties and gradients


def test_the_weight_of_r1_follows_resolution_and_batch_where_it_is_left_open() -> None:
    assert auto_r1_gamma(16, BATCH) == pytest.approx(0.0002 * 256 / 4)
    a, b = tiny(total=8, r1_gamma=None), tiny(total=8, r1_gamma=auto_r1_gamma(16, BATCH))
    fit(a)
    fit(b)
    assert_same(a, b)


def test_without_a_weight_there_is_no_r1_and_no_scaling_for_it() -> None:
    module = tiny(total=8, r1_gamma=0.0, lr_d=0.2)
    assert module.configure_optimizers()[1].defaults["lr"] == 0.2
    fit(module)
    assert "r1" not in module.figures


def test_gradients_that_are_no_numbers_are_mended() -> None:
    p = torch.nn.Parameter(torch.zeros(4))
    unused = torch.nn.Parameter(torch.zeros(1))
    p.grad = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0])
    sanitise_gradients([p, unused])
    assert p.grad.tolist() == [0.0, 1e5, -1e5, 2.0]
    assert unused.grad is None


def test_an_overflow_in_one_gradient_does_not_end_the_run() -> None:
    module = tiny(total=8)
    module.D.stem.weight.register_hook(lambda gradient: gradient * float("inf"))
    fit(module)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_frozen_parameters_of_the_discriminator_stay() -> None:
    module = tiny(total=8)
    module.D.stem.requires_grad_(False)
    before = module.D.stem.weight.detach().clone()
    fit(module)
    assert torch.equal(module.D.stem.weight, before)


@pytest.mark.parametrize("precision", ["bf16-mixed", "blocks"])
def test_half_precision_trains(precision: str) -> None:
    torch.manual_seed(0)
    half = {"num_fp16_res": 2, "half_dtype": "bfloat16", "conv_clamp": 256.0} if precision == "blocks" else {}
    small = {"channel_base": 128, "channel_max": 8, **half}
    G, D = Generator(16, z_dim=4, w_dim=4, mapping_layers=1, **small), Discriminator(16, **small)
    module = StyleGAN2Trainer(G, D, 32, r1_interval=2, path_weight=2.0, path_interval=2)
    before = G.synthesis.b16.conv1.weight.detach().clone()
    fit(module, precision="32-true" if precision == "blocks" else precision)
    assert not torch.equal(before, G.synthesis.b16.conv1.weight)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in module.parameters())
    assert all(math.isfinite(value) for value in module.figures.values())


@pytest.mark.slow
def test_compiled_passes_train_as_plain_ones_do() -> None:
    plain, compiled = (tiny(total=12, noise="none", compile=c) for c in (False, True))
    fit(plain)
    fit(compiled)
    for (name, x), y in zip(plain.state_dict().items(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4, msg=name)


# --- what goes wrong


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"

    def poison(module: StyleGAN2Trainer) -> None:
        if module.images_seen == 8:
            module.D.b4.out.weight.data.fill_(float("nan"))

    with pytest.raises(DivergedError, match=r"loss_d is not a number in batch 2 after 8 images"):
        fit(tiny(), [EveryImages(BATCH, save_last(last)), EveryImages(BATCH, poison)])
    module = tiny()
    fit(module, resume=last)
    assert module.images_seen == 24
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_broken_weights_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    last.write_text("good")
    module = tiny()
    module.G.synthesis.b8.conv0.bias.data[0] = float("inf")
    with pytest.raises(DivergedError, match=r"the weight G.synthesis.b8.conv0.bias is not a number after 0 images"):
        save_last(last)(module)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wgan"}, "loss must be logistic or hinge, got 'wgan'"),
        ({"noise": "some"}, "noise must be one of const, random, none, got 'some'"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_networks_must_take_one_kind_of_label_and_an_encoder_none() -> None:
    G = Generator(16, z_dim=4, w_dim=4, c_dim=2, mapping_layers=1, channel_base=128, channel_max=8)
    with pytest.raises(ValueError, match="one kind of label, got labels of width 2 and 0"):
        StyleGAN2Trainer(G, LeanDiscriminator(16, channels=(4, 4)), 8)
    D, E = LeanDiscriminator(16, channels=(4, 4), c_dim=2), LeanEncoder(16, 4, channels=(4, 4))
    with pytest.raises(ValueError, match=r"train a conditional generator with task\.encoder=null"):
        StyleGAN2Trainer(G, D, 8, encoder=E)


def test_samples_are_of_the_average_and_always_the_same() -> None:
    module = tiny()
    torch.testing.assert_close(draw_samples(module, 3), draw_samples(module, 5)[:3])
    module.G.synthesis.b16.torgb.bias.data.fill_(9)
    assert draw_samples(module, 3).max() < 9


# --- path lengths and augmentation


def test_path_lengths_are_kept_as_a_mean_and_only_where_asked_for() -> None:
    with_paths, without = tiny(total=24, path_weight=2.0, path_interval=3), tiny(total=24)
    lengths: list[float] = []
    fit(with_paths, [EveryImages(BATCH, lambda m: lengths.append(m.figures.get("path_length", 0.0)))])
    fit(without)
    assert [length > 0 for length in lengths] == [True, False, False, True, False, False]
    expected = torch.zeros([])
    for length in lengths:
        if length:
            expected.lerp_(torch.tensor(length), 0.01)
    torch.testing.assert_close(with_paths.path_mean, expected)
    assert without.path_mean == 0
    assert "path_length" not in without.figures


def test_lazy_path_lengths_scale_the_generator_s_optimiser() -> None:
    g, _ = tiny(path_weight=2.0, path_interval=4, lr_g=1e-3).configure_optimizers()
    assert g.defaults["lr"] == pytest.approx(0.8e-3)
    assert g.defaults["betas"] == (0.0, pytest.approx(0.99**0.8))
    plain, _ = tiny(lr_g=1e-3).configure_optimizers()
    assert (plain.defaults["lr"], plain.defaults["betas"]) == (1e-3, (0.0, 0.99))


def test_the_discriminator_sees_nothing_but_augmented_images() -> None:
    class Black(Augment):
        def forward(self, images: Tensor) -> Tensor:
            return images * 0

    module = tiny(total=8, augment=Black(), r1_interval=1)
    before = copy.deepcopy(module.G.synthesis.state_dict())
    fit(module)
    for name, value in module.G.synthesis.state_dict().items():  # no gradient reaches G
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert module.figures["r1"] == 0
