"""Training of heads on a tiny generator whose labels follow from its own features."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.segmentation import head_for
from networks.stylegan2 import Generator
from trainers import segmentation_default
from trainers.diverged import DivergedError
from trainers.segmentation import (
    HeadTrainer,
    OriginalTrainer,
    SegmentationSettings,
    k_fold,
    score_head,
    train_head,
)
from trainers.segmentation_data import Augmentation, FeatureStore, Labels, class_weights, stream, without_small_classes

NAMES = ("low", "middle", "high", "never")
QUICK = SegmentationSettings(
    passes=6, least_steps=1, windows=1, images_per_step=2, jitter=0.05, noise=True, refresh=2, learning_rate=1e-2,
    seed=3,
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(16, z_dim=8, w_dim=8, channel_base=128, channel_max=16, mapping_layers=1)
    return made.eval().requires_grad_(False)


def labels(generator: Generator, n: int, seed: int = 0) -> Labels:
    """Images labelled by two of the generator's own channels: a rule that a head can learn."""
    latents = generator.sample(n, seed)

    def level(codes):
        maps = generator.render(codes, features=True)[1]
        return maps["b16.conv1"][:, 0] + interpolate(maps["b8.conv1"], scale_factor=2, mode="bilinear")[:, 1]

    thirds = level(generator.sample(16, 99)).quantile(torch.tensor([1 / 3, 2 / 3]))
    return Labels(latents, torch.bucketize(level(latents), thirds).to(torch.uint8), NAMES)


def fresh(generator: Generator, kind: str = "default", members: int = 2, **arguments):
    return head_for(generator, kind, len(NAMES), members=members, constants=kind != "default", **arguments)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


@pytest.mark.parametrize("kind", ["default", "linear", "reference"])
def test_training_beats_guessing_on_images_not_seen(generator: Generator, kind: str) -> None:
    settings = replace(QUICK, passes=12, images_per_step=4)
    trained = train_head(fresh(generator, kind), generator, labels(generator, 32), settings, progress=False)
    unseen = labels(generator, 8, seed=1)
    accuracy = score_head(trained.head, generator, unseen).compute()["pixel_accuracy"]
    guess = (unseen.counts() / unseen.counts().sum()).max().item()
    assert accuracy > guess + 0.1
    assert trained.absent == ("never",)
    assert not trained.head.training


@pytest.mark.parametrize("recipe", ["default", "original"])
def test_same_seed_same_weights(generator: Generator, recipe: str, monkeypatch) -> None:
    monkeypatch.setattr(OriginalTrainer, "MAX_EPOCHS", 2)
    kind, settings = ("reference" if recipe == "original" else "default"), replace(QUICK, recipe=recipe)
    first, second = (
        train_head(fresh(generator, kind), generator, labels(generator, 4), settings, progress=False) for _ in range(2)
    )
    assert_same_weights(first.head, second.head)


class Killed(Exception):
    pass


@pytest.mark.parametrize("recipe", ["default", "original"])
def test_a_killed_run_resumes_to_the_same_weights(generator: Generator, recipe: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(OriginalTrainer, "MAX_EPOCHS", 3)
    module = OriginalTrainer if recipe == "original" else HeadTrainer
    kind, settings = ("reference" if recipe == "original" else "default"), replace(QUICK, recipe=recipe)
    known = labels(generator, 4)
    whole = train_head(fresh(generator, kind), generator, known, settings, progress=False)

    step_of, path = module.training_step, tmp_path / "last.ckpt"

    def dies_at_seven(self, batch, batch_idx):
        if self.clock >= 7:
            raise Killed
        step_of(self, batch, batch_idx)

    monkeypatch.setattr(module, "training_step", dies_at_seven)
    monkeypatch.setattr(HeadTrainer, "TOGETHER", 2)  # a checkpoint is written between batches
    with pytest.raises(Killed):
        train_head(fresh(generator, kind), generator, known, settings, path, save_every=0.0, progress=False)
    monkeypatch.setattr(module, "training_step", step_of)
    torch.rand(5)  # whatever else the process draws must not matter
    resumed = train_head(fresh(generator, kind), generator, known, settings, path, progress=False)
    assert resumed.steps == whole.steps
    assert_same_weights(resumed.head, whole.head)
    again = train_head(fresh(generator, kind), generator, known, settings, path, progress=False)  # a finished run
    assert_same_weights(again.head, whole.head)


def test_a_checkpoint_is_plain_data(generator: Generator, tmp_path) -> None:
    path = tmp_path / "last.ckpt"
    train_head(fresh(generator), generator, labels(generator, 2), replace(QUICK, passes=1), path, progress=False)
    state = torch.load(path, weights_only=True)
    assert not any(name.startswith(("generator", "_store")) for name in state["state_dict"])


def test_nan_stops_with_step_and_images_and_keeps_the_checkpoint(generator: Generator, tmp_path, monkeypatch) -> None:
    path, seen = tmp_path / "last.ckpt", FeatureStore.batch

    def poisoned(self, step):
        batch = seen(self, step)
        if step == 4:
            batch.features["b16.conv1"][0, 0, 0, 0] = math.nan
        return batch

    monkeypatch.setattr(FeatureStore, "batch", poisoned)
    monkeypatch.setattr(HeadTrainer, "TOGETHER", 4)  # a checkpoint is written between batches
    known = replace(labels(generator, 4), names=tuple("wxyz"))
    with pytest.raises(DivergedError, match=r"the loss is not a number at step 4 \(images [w-z], [w-z]\)") as found:
        train_head(fresh(generator), generator, known, QUICK, path, save_every=0.0, progress=False)
    store = FeatureStore.of(fresh(generator), generator, known, QUICK)
    assert found.value.images == known.called(store.batch(4).images)
    state = torch.load(path, weights_only=True)
    assert state["state_dict"]["clock"] == 4
    assert all(bool(x.isfinite().all()) for x in state["state_dict"].values())


def test_weights_that_the_last_step_broke_are_not_handed_out(generator: Generator, tmp_path, monkeypatch) -> None:
    path, settings = tmp_path / "last.ckpt", replace(QUICK, passes=1, least_steps=3)
    broken = lambda step, total: math.inf if step == total - 1 else 1e-3  # noqa: E731
    monkeypatch.setattr(segmentation_default, "warm_up_then_cosine", broken)
    monkeypatch.setattr(HeadTrainer, "TOGETHER", 1)
    with pytest.raises(DivergedError, match=r"the weight .* is not a number after 3 steps"):
        train_head(fresh(generator), generator, labels(generator, 2), settings, path, save_every=0.0, progress=False)
    assert torch.load(path, weights_only=True)["state_dict"]["clock"] == 2


def test_names_of_images_follow_them(generator: Generator) -> None:
    known = replace(labels(generator, 4), names=tuple("wxyz"))
    assert known[[3, 1]].called([0, 1]) == ("z", "x")
    assert labels(generator, 4)[[3, 1]].called([0]) == ("3",)


def test_tiles_change_memory_not_the_result(generator: Generator) -> None:
    settings = replace(QUICK, passes=2, jitter=0.0, noise=False, dice=0.0)  # Dice is taken over each tile
    heads = [
        train_head(
            fresh(generator, dropout=0.0), generator, labels(generator, 3),
            replace(settings, tile=tile), progress=False,
        ).head
        for tile in (16, 6)
    ]  # fmt: skip
    for a, b in zip(heads[0].state_dict().values(), heads[1].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_original_recipe_is_one_member_after_another(generator: Generator, monkeypatch) -> None:
    """Against a loop as DatasetGAN runs it: enlarge, concatenate, each member alone with its own shuffle and stop."""
    for name, value in (("FREE_EPOCHS", 1), ("PATIENCE", 3)):
        monkeypatch.setattr(OriginalTrainer, name, value)
    known, seed = labels(generator, 3), 5
    head = fresh(generator, "reference").double()
    start = {name: value.clone() for name, value in head.state_dict().items()}
    double = InDouble(generator)
    trained = train_head(head, double, known, SegmentationSettings(recipe="original", seed=seed), progress=False).head

    maps = double.render(known.latents, features=True)[1]
    large = [interpolate(x, size=(16, 16), mode="bilinear", align_corners=False) for x in maps.values()]
    x, y = torch.cat(large, dim=1).movedim(1, -1).flatten(0, 2), known.masks.flatten().long()
    for m in range(2):
        mlp = _one_after_another(start, m, x, y, seed)
        torch.testing.assert_close(trained.first[m], mlp[0].weight, rtol=0, atol=1e-8)
        torch.testing.assert_close(trained.third[m], mlp[6].weight, rtol=0, atol=1e-8)
        torch.testing.assert_close(trained.first_norm.running_var.view(2, -1)[m], mlp[2].running_var, rtol=1e-8, atol=0)


class InDouble:
    """A generator whose features are double precision, so that a thousand steps stay comparable."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.img_resolution = generator, generator.img_resolution

    def render(self, latent, features=False):
        image, maps = self.generator.render(latent, features=True)
        return image, {name: x.double() for name, x in maps.items()}


def _one_after_another(start: dict, m: int, x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Sequential:
    wide, narrow, classes = 128, 32, len(NAMES)
    mlp = nn.Sequential(
        nn.Linear(x.shape[1], wide), nn.ReLU(), nn.BatchNorm1d(wide), nn.Linear(wide, narrow), nn.ReLU(),
        nn.BatchNorm1d(narrow), nn.Linear(narrow, classes),
    ).double()  # fmt: skip
    with torch.no_grad():
        for i, name in ((0, "first"), (3, "second"), (6, "third")):
            mlp[i].weight.copy_(start[name][m])
            mlp[i].bias.copy_(start[f"{name}_bias"][m])
    adam, best, waited = torch.optim.Adam(mlp.parameters(), lr=1e-3), math.inf, 0
    for epoch in range(100):
        for picked in torch.randperm(len(x), generator=stream(seed, 4, m, epoch)).split(64):
            adam.zero_grad()
            loss = cross_entropy(mlp(x[picked]), y[picked])
            loss.backward()
            adam.step()
            if epoch > OriginalTrainer.FREE_EPOCHS - 1:
                best, waited = (loss.item(), 0) if loss.item() < best else (best, waited + 1)
                if waited > OriginalTrainer.PATIENCE:
                    return mlp
    return mlp


def test_every_step_is_a_function_of_seed_and_step(generator: Generator) -> None:
    def store() -> FeatureStore:
        augmentation = Augmentation(jitter=0.1)
        return FeatureStore(generator, labels(generator, 5), ["b8.conv0"], 1, 2, augmentation, refresh=1)

    ahead, jumping = store(), store()
    batches = [ahead.batch(step) for step in range(8)]
    for step in (7, 2, 5):
        torch.testing.assert_close(jumping.batch(step).features, batches[step].features, rtol=0, atol=0)
    assert sorted(i for b in batches[:3] for i in b.images) == [0, 1, 2, 3, 4]
    assert sorted(i for b in batches[3:6] for i in b.images) == [0, 1, 2, 3, 4]
    assert [b.images for b in batches[:3]] != [b.images for b in batches[3:6]]


def test_a_pass_shows_every_labelled_pixel_once(generator: Generator) -> None:
    store = FeatureStore(generator, labels(generator, 3), ["b8.conv0"], 1, 2, windows=3)  # 16 pixels: 6, 6 and 4
    assert store.steps_per_pass == 2 * 9
    for start in (0, store.steps_per_pass):
        seen = torch.zeros(3, 16, 16, dtype=torch.int64)
        for step in range(start, start + store.steps_per_pass):
            batch = store.batch(step)
            assert torch.equal(batch.masks, store.masks[batch.images].long())
            for image in batch.images:
                batch.window.cut(seen[image]).add_(1)
        assert bool((seen == 1).all())


def test_a_window_of_a_step_is_a_part_of_the_whole(generator: Generator) -> None:
    known = labels(generator, 1)
    head = fresh(generator, dropout=0.0)
    store = FeatureStore(generator, known, head.feature_names, windows=2)
    module = HeadTrainer(head, store, replace(QUICK, dice=0.0, windows=2))
    batches = [store.batch(step) for step in range(4)]
    parts = [head.window(batch.features, batch.window) for batch in batches]
    whole = head(batches[0].features)
    for batch, part in zip(batches, parts, strict=True):
        torch.testing.assert_close(part, batch.window.cut(whole))
    assert module.total_steps == 6 * 4


def test_augmentation_leaves_the_first_round_alone_and_moves_later_ones(generator: Generator) -> None:
    known = labels(generator, 2)
    store = FeatureStore(generator, known, ["b16.conv1"], 0, 2, Augmentation(jitter=0.1), refresh=1)
    exact = generator.render(known.latents, features=True)[1]["b16.conv1"]
    store.fill(0)
    torch.testing.assert_close(store.maps["b16.conv1"], exact)
    store.fill(1)
    change = (store.maps["b16.conv1"] - exact).std() / exact.std()
    assert 0.001 < change < 0.5


def test_noise_augmentation_renders_anew_each_round(generator: Generator) -> None:
    noisy = copy.deepcopy(generator)
    for name, value in noisy.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.3)
    store = FeatureStore(noisy, labels(noisy, 2), ["b16.conv1"], 0, 2, Augmentation(noise=True), refresh=1)
    rounds = []
    for number in (0, 1, 2, 1):
        store.fill(number)
        rounds.append(store.maps["b16.conv1"].clone())
    assert not torch.allclose(rounds[1], rounds[0])
    assert not torch.allclose(rounds[1], rounds[2])
    assert torch.equal(rounds[1], rounds[3])


def test_ignored_pixels_teach_nothing(generator: Generator) -> None:
    known = labels(generator, 3)
    known.masks[:, :8] = 255
    other = Labels(known.latents, known.masks.clone(), NAMES)
    heads = [train_head(fresh(generator), generator, k, QUICK, progress=False).head for k in (known, other)]
    assert_same_weights(*heads)
    assert known.counts().sum() == 3 * 8 * 16
    head = fresh(generator, "reference")
    store = FeatureStore(generator, known, head.feature_names)
    module = OriginalTrainer(head, store, replace(QUICK, recipe="original"))
    drawn = torch.cat([module._sample(step)[1] for step in range(module.steps_per_epoch)], dim=1)
    assert bool((drawn != 255).all())
    assert drawn.shape == (2, 3 * 8 * 16)


def test_half_precision_cache_halves_memory_and_trains(generator: Generator) -> None:
    store = FeatureStore(generator, labels(generator, 2), ["b16.conv1"], half=True)
    store.fill(0)
    assert store.maps["b16.conv1"].dtype == torch.float16
    trained = train_head(fresh(generator), generator, labels(generator, 4), replace(QUICK, half=True), progress=False)
    assert trained.steps == 12


def test_k_fold_scores_every_image_once(generator: Generator) -> None:
    known = labels(generator, 5)
    trained, untrained = (
        k_fold(lambda: fresh(generator, "linear", 1), generator, known, settings, folds=2, progress=False)
        for settings in (replace(QUICK, passes=10), replace(QUICK, passes=1, learning_rate=1e-9))
    )
    assert all(found.score.confusion.sum() == known.masks.numel() for found in (trained, untrained))
    assert trained.score.compute()["miou"] > untrained.score.compute()["miou"]
    assert 0 < trained.score.compute()["ece"] < 1


def test_k_fold_keeps_what_it_predicted_in_the_order_of_the_labels(generator: Generator) -> None:
    known = labels(generator, 5)
    found = k_fold(lambda: fresh(generator), generator, known, QUICK, folds=3, progress=False)
    torch.testing.assert_close(found.rendered, generator.render(known.latents).clamp(-1, 1))
    assert found.mask.shape == found.uncertainty.shape == known.masks.shape
    accuracy = (found.mask == known.masks).float().mean().item()
    assert accuracy == pytest.approx(found.score.compute()["pixel_accuracy"])


def test_k_fold_trains_as_the_trainer_says(generator: Generator, monkeypatch) -> None:
    seen = []

    def spy(*arguments, **named):
        seen.append(named["trainer"])
        return train_head(*arguments, **named)

    monkeypatch.setattr("trainers.segmentation.train_head", spy)
    k_fold(
        lambda: fresh(generator), generator, labels(generator, 2), replace(QUICK, passes=1), 2,
        trainer={"precision": "bf16-mixed"}, progress=False,
    )  # fmt: skip
    assert seen == [{"precision": "bf16-mixed"}] * 2


def test_small_classes_become_background_image_by_image() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.uint8)
    masks[0, 0, :2], masks[1, :2] = 1, 1
    masks[:, 3, 3] = 255
    cleaned = without_small_classes(masks, 3)
    assert cleaned[0].unique().tolist() == [0, 255]
    assert torch.equal(cleaned[1], masks[1])
    assert masks[0].unique().tolist() == [0, 1, 255]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_an_average_pixel_weighs_one_and_rare_classes_more(power: float) -> None:
    counts = torch.tensor([900, 90, 10, 0])
    weight = class_weights(counts, power)
    assert (weight * counts).sum().item() == pytest.approx(counts.sum().item(), rel=1e-5)
    assert weight[3] == 0
    assert weight[2] / weight[0] == pytest.approx(90**power, rel=1e-4)


def test_bad_labels_are_named(generator: Generator) -> None:
    known = labels(generator, 2)
    with pytest.raises(GanvasError, match="no labelled images"):
        Labels(known.latents[:0], known.masks[:0], NAMES)
    with pytest.raises(GanvasError, match="2 images but 1 masks"):
        Labels(known.latents, known.masks[:1], NAMES)
    with pytest.raises(GanvasError, match="class id 9, but there are 4 classes"):
        Labels(known.latents, torch.full_like(known.masks, 9), NAMES)
    with pytest.raises(GanvasError, match="marked to be ignored"):
        Labels(known.latents, torch.full_like(known.masks, 255), NAMES)
    with pytest.raises(GanvasError, match="at least 2 labelled images, got 1"):
        k_fold(lambda: fresh(generator), generator, known[[0]], QUICK)
    with pytest.raises(ValueError, match="at least 2 folds, got 1"):
        k_fold(lambda: fresh(generator), generator, known, QUICK, folds=1)
    with pytest.raises(GanvasError, match="trains the reference head, not 'default'"):
        train_head(fresh(generator), generator, known, SegmentationSettings(recipe="original"), progress=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": "foo"}, {"windows": 0}, {"tile": 0}, {"images_per_step": 0}, {"refresh": 0}, {"passes": -1},
        {"least_steps": -1}, {"learning_rate": -1.0}, {"learning_rate": 0.0}, {"learning_rate": math.inf},
        {"weight_decay": -0.1}, {"dice": math.nan}, {"jitter": -0.1}, {"balance": -1.0}, {"min_class_pixels": -1},
        {"passes": 0, "least_steps": 0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(wrong: dict) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(GanvasError, match=rf"training {name}.*{value}"):
        SegmentationSettings(**wrong)


def test_one_labelled_image_is_enough_to_train(generator: Generator) -> None:
    assert train_head(fresh(generator), generator, labels(generator, 1), QUICK, progress=False).steps == 6


def test_few_labels_get_as_many_steps(generator: Generator) -> None:
    settings = replace(QUICK, passes=2, least_steps=9)
    assert train_head(fresh(generator), generator, labels(generator, 2), settings, progress=False).steps == 9
    assert train_head(fresh(generator), generator, labels(generator, 12), settings, progress=False).steps == 12


def test_progress_is_told(generator: Generator) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    settings = replace(QUICK, passes=60, images_per_step=1, refresh=60)
    train_head(
        fresh(generator), generator, labels(generator, 1), settings, progress=False,
        listen=lambda step, figures: told.append((step, figures)),
    )  # fmt: skip
    assert [step for step, _ in told] == [32, 60]  # at the end of a batch, which is several steps
    assert all(math.isfinite(figures["loss"]) for _, figures in told)


def test_bar_shows_on_request(generator: Generator, capsys) -> None:
    train_head(fresh(generator), generator, labels(generator, 1), replace(QUICK, passes=2), progress=True)
    assert "segmentation" in capsys.readouterr().err


def test_jitter_leaves_the_latents_own_noise_and_fresh_noise_takes_its_place() -> None:
    latent = Latent("w+", {"ws": torch.zeros(1, 2, 3)}).with_noise({"b8.conv0": torch.ones(1, 8, 8)})
    spread, rng = {"ws": torch.ones(1, 2, 3)}, torch.Generator().manual_seed(0)
    jittered = Augmentation(jitter=0.1).apply(latent, spread, rng)
    assert torch.equal(jittered.noise["b8.conv0"], torch.ones(1, 8, 8))
    assert jittered.tensors["ws"].abs().max() > 0
    fresh = Augmentation(noise=True).apply(latent, spread, rng)
    assert fresh.noise == {}
    assert fresh.noise_seed is not None


def test_a_precision_that_needs_scaled_gradients_is_refused(generator: Generator) -> None:
    with pytest.raises(GanvasError, match=r"16-mixed is not for a head, .* use bf16-mixed"):
        train_head(fresh(generator), generator, labels(generator, 2), QUICK, trainer={"precision": "16-mixed"})
