"""Mappers follow their texts, several as if alone, and a run that stopped goes on to the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from datamodules.images import GANImages
from datamodules.latents import Sources
from networks.checkpoints.errors import GanvasError
from networks.clip import ClipMix
from networks.identity import IdentityNetwork
from networks.mapper import STYLECLIP, Mapper, MixtureMapper, Recipe, in_space, mapper_for
from networks.mapper.sources import clip_features, remembered
from networks.mapper.statements import Statements
from networks.mapper.wish import Wish, root_covariance
from networks.preservation import IdentityPreservation, Preserved
from networks.stylegan2 import Generator
from tests.clips import DIM, tiny_clip
from trainers.diverged import DivergedError
from trainers.gan_callbacks import EveryImages, StopAtTotal, save_last
from trainers.mapper import ConditionedTrainer, Judges, MapperTrainer
from trainers.ranger import Ranger

BATCH, TEXTS = 4, ("a smiling person", "a bald man", "red hair")
ORIGINAL = json.loads((Path(__file__).parents[1] / "networks" / "styleclip.json").read_text())


def generator() -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr_mult=1.0, channel_base=256, channel_max=16)
    return G.eval().requires_grad_(False)


def judges(texts: tuple[str, ...] = TEXTS, preserved: Preserved | None = None) -> Judges:
    mix = ClipMix([tiny_clip(0), tiny_clip(1)], [2.0, 1.0])
    wish = Wish.of(mix, texts, "a person", ["{}", "a photo of {}"])
    return Judges(generator(), mix, wish, preserved or Preserved())


def sources(frozen: Judges, space: str = "w+", count: int = 12) -> Sources:
    latent = in_space(frozen.generator, frozen.generator.sample(count, seed=5), space)
    parts = list(remembered(frozen.generator, latent, frozen.mix, frozen.preserved, batch=5))
    kept = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return Sources(latent.tensors, kept)


def told(frozen: Judges) -> Judges:
    """The same judges, who also know what else can be said."""
    groups = {"mouth": ["a sad mouth", "a smile"], "hair": ["red hair", "black hair", "no hair|bald"]}
    seen = clip_features({name: torch.as_tensor(x) for name, x in sources(frozen).kept.items()})
    return frozen._replace(wish=frozen.wish.among(Statements.of(frozen.mix, groups, ["{}"]), seen))


def bank_of(n: int, recipe: Recipe = Recipe(), kind: str = "levels") -> list[Mapper]:  # noqa: B008 - frozen
    return [mapper_for(generator(), kind, recipe, seed=k) for k in range(n)]


def fit(
    module: MapperTrainer, folder: Path, stop_at: int | None = None, precision: str = "32-true",
    callback: pl.Callback | None = None,
) -> MapperTrainer:  # fmt: skip
    last = folder / "last.ckpt"
    callbacks: list[pl.Callback] = [StopAtTotal(), EveryImages(BATCH, save_last(last))]
    callbacks += [callback] if callback else []
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, limit_train_batches=None if stop_at is None else stop_at // BATCH,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=callbacks, default_root_dir=folder, precision=precision,
    )  # fmt: skip
    if stop_at is not None:
        trainer.fit_loop.max_epochs = 1
    data = GANImages(sources(module._judges, module.bank[0].space), BATCH, 0)
    trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    return module


def heldout_distance(module: MapperTrainer, k: int = 0) -> float:
    """How far other images than those of training are from changing as text k says; 1 where nothing changes."""
    G, mix, wish, _ = module._judges
    latent = G.sample(16, seed=5, first=12)
    after = latent.replace(ws=latent.tensors["ws"] + module.mappers[k](latent.tensors)["ws"])
    with torch.no_grad():
        seen = [mix.encode_images(G.render(x)) for x in (after, latent)]
    return wish.distances(*seen, torch.full([16], k))["directional"].mean().item()


def test_images_come_to_fit_their_text(tmp_path: Path) -> None:
    frozen = judges(TEXTS[:2])
    module = fit(MapperTrainer(bank_of(2), frozen, 40 * BATCH, lr=1e-2, clip=1.0, length=0.0), tmp_path)
    for k in range(2):
        assert heldout_distance(module, k) < 0.9
    assert set(module.figures) == {"clip", "directional", "length", "loss"}


def test_texts_may_ask_for_changes_as_images_vary() -> None:
    frozen = judges(TEXTS[:2])
    seen = clip_features({name: torch.as_tensor(x) for name, x in sources(frozen).kept.items()})
    turned = frozen.wish.as_changes(seen)
    x = seen[0].double() - seen[0].double().mean(0)
    pattern = (x.T @ x / len(x)).float() @ (frozen.wish.targets[0] - frozen.wish.neutral[0]).T   # eq. 6, in full
    cos = torch.nn.functional.cosine_similarity
    # Half the way there: nearer to it than the text's own direction, which stays what a mapper is told.
    assert (cos(turned.aims[0], pattern.T) > cos(frozen.wish.aims[0], pattern.T)).all()
    assert torch.equal(turned.directions, frozen.wish.directions)
    moved, which = torch.nn.functional.normalize(seen[0] + 0.1 * turned.aims[0][:1], dim=1), torch.zeros(12).long()
    torch.testing.assert_close(turned.asking(turned.aims[0]), turned.directions)   # the way back
    torch.testing.assert_close(frozen.wish.asking(frozen.wish.aims[0]), frozen.wish.directions)
    near, far = (wish.distances([moved, seen[1]], seen, which)["directional"].mean() for wish in (turned, frozen.wish))
    assert near < far
    torch.testing.assert_close(turned.only(1).aims[0], turned.aims[0][1:])
    root = root_covariance(torch.randn(500, 4) @ torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    torch.testing.assert_close(root, root.T)
    torch.testing.assert_close(root.diag(), torch.tensor([1.0, 2.0, 3.0, 4.0]), rtol=0.15, atol=0.0)


def test_of_several_texts_each_is_as_if_alone() -> None:
    mix = ClipMix([tiny_clip(0)])
    both = Wish.of(mix, TEXTS[:2], "a person")
    for k in range(2):
        alone = Wish.of(mix, TEXTS[k : k + 1], "a person")
        assert both.only(k).texts == alone.texts
        torch.testing.assert_close(both.aims[0][k : k + 1], alone.aims[0])
        torch.testing.assert_close(both.only(k).directions, alone.directions)


@pytest.mark.parametrize("losses", [{}, {"contrast": 0.3, "unsaid": 0.3, "jitter": 0.05}])
def test_a_bank_is_its_mappers_alone(losses: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    bank = fit(MapperTrainer(bank_of(3), told(judges()), 3 * BATCH, together=2 * BATCH, **losses), tmp_path / "bank")
    for k in range(3):
        (tmp_path / str(k)).mkdir()
        alone = MapperTrainer([bank_of(3)[k]], told(judges(TEXTS[k : k + 1])), 3 * BATCH, **losses)
        fit(alone, tmp_path / str(k))
        for name, value in alone.bank[0].state_dict().items():
            torch.testing.assert_close(bank.bank[k].state_dict()[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "ranger"])
def test_a_resumed_run_ends_with_the_same_weights(optimizer: str, tmp_path: Path) -> None:
    def module() -> MapperTrainer:
        return MapperTrainer(bank_of(1), judges(TEXTS[:1]), 14 * BATCH, optimizer=optimizer, lr=1e-2, jitter=0.05)

    (tmp_path / "whole").mkdir()
    (tmp_path / "halves").mkdir()
    whole = fit(module(), tmp_path / "whole")
    assert fit(module(), tmp_path / "halves", stop_at=7 * BATCH).images_seen == 7 * BATCH
    torch.manual_seed(99)  # nothing may hang on the global state
    resumed = fit(module(), tmp_path / "halves")
    assert resumed.images_seen == whole.images_seen == 14 * BATCH
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_what_judges_is_frozen_and_no_part_of_the_checkpoint(tmp_path: Path) -> None:
    frozen = judges(preserved=Preserved({"identity": IdentityPreservation(IdentityNetwork(32, width=4))},
                                        {"identity": 0.1}))  # fmt: skip
    module = MapperTrainer(bank_of(3), frozen, BATCH)
    assert {name.partition(".")[0] for name in module.state_dict()} == {"bank", "average", "clock"}
    networks = [frozen.generator, frozen.mix, frozen.preserved]
    before = [{name: x.clone() for name, x in network.state_dict().items()} for network in networks]
    fit(module, tmp_path)
    for network, state in zip(networks, before, strict=True):
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
        assert all(torch.equal(x, state[name]) for name, x in network.state_dict().items())
    assert "identity" in module.figures


def test_statements_bring_a_text_and_hold_the_rest(tmp_path: Path) -> None:
    found = {}
    for name, losses in {"text": {"contrast": 1.0}, "both": {"contrast": 1.0, "unsaid": 100.0}}.items():
        (tmp_path / name).mkdir()
        frozen = told(judges(TEXTS[:1]))
        module = MapperTrainer(bank_of(1), frozen, 30 * BATCH, lr=1e-2, directional=0.0, length=0.0, **losses)
        latent = frozen.generator.sample(16, seed=5, first=12)
        fit(module, tmp_path / name)
        after = latent.replace(ws=latent.tensors["ws"] + module.mappers[0](latent.tensors)["ws"])
        with torch.no_grad():
            now, then = (frozen.mix.encode_images(frozen.generator.render(x)) for x in (after, latent))
        which = torch.zeros(16, dtype=torch.long)
        before, edited = (frozen.wish.distances(seen, then, which) for seen in (then, now))
        assert edited["contrast"].mean() < before["contrast"].mean()   # by little: these CLIPs are untrained
        found[name] = edited["unsaid"].mean()
    assert 0 < found["both"] < 0.8 * found["text"]


def test_a_preserved_identity_holds_an_edit_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = IdentityNetwork(32, width=4).eval()
    found = {}
    for weight in (0.0, 100.0):
        (tmp_path / str(weight)).mkdir()
        terms = {"identity": IdentityPreservation(network)} if weight else {}
        frozen = judges(TEXTS[:1], Preserved(terms, {"identity": weight} if weight else {}))
        module = fit(MapperTrainer(bank_of(1), frozen, 20 * BATCH, lr=1e-2), tmp_path / str(weight))
        G, latent = generator(), generator().sample(8, seed=5)
        after = latent.replace(ws=latent.tensors["ws"] + module.mappers[0](latent.tensors)["ws"])
        with torch.no_grad():
            found[weight] = (network(G.render(after)) * network(G.render(latent))).sum(1).mean().item()
    assert found[100.0] > found[0.0]


@pytest.mark.parametrize("kind", ["single", "styles"])
def test_other_kinds_train_in_their_space(kind: str, tmp_path: Path) -> None:
    module = fit(MapperTrainer(bank_of(1, kind=kind), judges(TEXTS[:1]), 2 * BATCH), tmp_path)
    assert any(network.head.weight.abs().sum() > 0 for network in module.bank[0].networks.values())


def test_half_precision_trains_as_well(tmp_path: Path) -> None:
    module = fit(MapperTrainer(bank_of(1), judges(TEXTS[:1]), 3 * BATCH), tmp_path, precision="bf16-mixed")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in module.bank.parameters())


def mixture(frozen: Judges) -> MixtureMapper:
    general = mapper_for(generator(), "levels", Recipe(condition=DIM))
    return MixtureMapper(general, bank_of(len(frozen.wish.texts)), frozen.wish.directions)


def test_a_conditioned_mapper_learns_pairs_and_then_texts(tmp_path: Path) -> None:
    frozen = judges()
    mapper = mixture(frozen)
    module = ConditionedTrainer([mapper], frozen, 60 * BATCH, lr=1e-2, pretrained=30 * BATCH)
    (batch,) = [sources(frozen).batch([0, 1, 2, 3, 4, 5])]
    before = {name: x.mean() for name, x in module._of_pairs(batch).items()}
    assert before["turned"] == 1  # the mapper says nothing yet
    fit(module, tmp_path, stop_at=30 * BATCH)
    after = {name: x.mean() for name, x in module._of_pairs(batch).items()}
    assert after["missed"] < before["missed"]
    assert after["turned"] < 0.95
    assert set(module.figures) == {"missed", "turned", "loss"}
    assert not any(network.head.weight.any() for expert in mapper.experts for network in expert.networks.values())
    taught = {name: x.clone() for name, x in mapper.general.state_dict().items()}
    module = fit(ConditionedTrainer([mixture(frozen)], frozen, 60 * BATCH, lr=1e-2, pretrained=30 * BATCH), tmp_path)
    assert module.images_seen == 60 * BATCH
    assert set(module.figures) == {"clip", "directional", "length", "loss"}
    assert all(torch.equal(x, taught[name]) for name, x in module.mixture.general.state_dict().items())
    assert all(expert.networks["fine"].head.weight.any() for expert in module.mixture.experts)


class Rates(pl.Callback):
    """The rate of each step, and the average of the general part after it."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.general: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: ConditionedTrainer, *_: object) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.general.append(next(pl_module.average[0].general.parameters()).clone())


@pytest.mark.parametrize("first", [20 * BATCH, 20 * BATCH - 1])   # the second is no multiple of the batch
def test_each_phase_of_a_conditioned_mapper_has_the_whole_schedule(first: int, tmp_path: Path) -> None:
    seen = Rates()
    module = ConditionedTrainer([mixture(judges())], judges(), 60 * BATCH, lr=1e-2, pretrained=first)
    fit(module, tmp_path, callback=seen)
    one, other = seen.rates[:20], seen.rates[20:]
    for rates in (one, other):
        assert max(rates) == pytest.approx(1e-2, rel=0.02)
        assert max(rates) > 10 * rates[-1]
        assert rates.index(max(rates)) <= 3
    # what no longer learns keeps the average that it had
    assert not torch.equal(seen.general[18], seen.general[19])
    assert torch.equal(seen.general[19], seen.general[-1])


@pytest.mark.parametrize("halflife", [0.0, 100.0])
def test_a_finished_mixture_goes_no_further_where_it_knows_no_text(halflife: float) -> None:
    frozen = judges()
    module = ConditionedTrainer([mixture(frozen)], frozen, 5 * BATCH, ema_halflife=halflife)
    for part, size in ((module.mappers[0].general, 1.0), *((expert, 0.1) for expert in module.mappers[0].experts)):
        for network in part.networks.values():
            torch.nn.init.normal_(network.head.weight, std=size)
    module.finish(sources(frozen).batch([0, 1, 2]).codes)
    assert module.mappers[0].recipe.step_scale < 0.5
    MapperTrainer(bank_of(1), judges(TEXTS[:1]), BATCH).finish({})   # nothing is done to a bank


def test_a_second_phase_of_less_than_a_batch_is_a_step(tmp_path: Path) -> None:
    module = fit(ConditionedTrainer([mixture(judges())], judges(), 5 * BATCH + 1, pretrained=5 * BATCH), tmp_path)
    assert module.images_seen >= 5 * BATCH + 1
    assert module.is_judged


def test_an_expert_comes_out_as_a_mapper_alone(tmp_path: Path) -> None:
    one, options = judges(TEXTS[:1]), {"lr": 1e-2, "clip_gradient": 0.01}
    for name in ("mixture", "alone"):
        (tmp_path / name).mkdir()
    together = fit(ConditionedTrainer([mixture(one)], one, 5 * BATCH, **options), tmp_path / "mixture")
    alone = fit(MapperTrainer(bank_of(1), one, 5 * BATCH, **options), tmp_path / "alone")
    for mine, other in zip(together.mixture.experts[0].parameters(), alone.bank[0].parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_an_experts_gradient_is_bounded_by_its_part_of_the_batch() -> None:
    module = ConditionedTrainer([mixture(judges())], judges(), 5 * BATCH)
    assert [part for _, part in module.alone(BATCH)] == [1.0, *[pytest.approx(1 / 3)] * 3]
    assert [part for _, part in MapperTrainer(bank_of(2), judges(TEXTS[:2]), BATCH).alone(BATCH)] == [1.0, 1.0]


def test_texts_are_asked_alike_often() -> None:
    frozen = judges()
    module = ConditionedTrainer([mixture(frozen)], frozen, 60 * BATCH)
    ((_, which),) = module.terms(sources(frozen).batch(list(range(7))))
    assert sorted(which.bincount().tolist()) == [2, 2, 3]


def test_ranger_is_the_originals() -> None:
    params = [torch.nn.Parameter(torch.cos(torch.arange(n, dtype=torch.float64) * 0.37).float().reshape(shape))
              for n, shape in ((12, (3, 4)), (4, (4,)))]  # fmt: skip
    optimizer = Ranger(params)
    for step in range(20):
        for p in params:
            p.grad = torch.sin(torch.arange(p.numel(), dtype=torch.float64) + step).float().reshape(p.shape)
        optimizer.step()
    for p, numbers in zip(params, ORIGINAL["ranger"], strict=True):
        torch.testing.assert_close(p.detach().flatten(), torch.tensor(numbers), rtol=1e-5, atol=1e-5)


def test_the_originals_recipe_trains(tmp_path: Path) -> None:
    bank = [mapper_for(generator(), "levels", STYLECLIP, measured=False)]
    module = MapperTrainer(
        bank, judges(TEXTS[:1]), 20 * BATCH, optimizer="ranger", lr=0.5, schedule="constant", ema_halflife=0,
        clip_gradient=0, clip=0.0, directional=1.0, length=0.0,
    )  # fmt: skip
    before = heldout_distance(module)
    assert heldout_distance(fit(module, tmp_path)) < before
    assert module.average is None


def test_a_loss_that_is_no_number_names_the_images_seen(tmp_path: Path) -> None:
    module = MapperTrainer(bank_of(1), judges(TEXTS[:1]), 2 * BATCH)
    with torch.no_grad():
        module.bank[0].networks["coarse"].head.bias[0] = float("nan")
    with pytest.raises(DivergedError, match="is not a number after 0 images"):
        fit(module, tmp_path)


def test_unknown_optimisers_are_refused() -> None:
    with pytest.raises(GanvasError, match="not by sgd with cosine"):
        MapperTrainer(bank_of(1), judges(TEXTS[:1]), BATCH, optimizer="sgd")
