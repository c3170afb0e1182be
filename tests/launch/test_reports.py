"""Reports: every picture is there and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editors import load
from launch import cli
from launch.reports.pictures import errors, heat, legend, overlay, panels, side_by_side
from launch.reports.plots import bars, class_bars, coverage_curves, label_curve, lines
from launch.reports.values import Value
from networks.checkpoints.classes import ClassList
from networks.metrics.uncertainty import risk_coverage
from tests.launch.conftest import AvatarRun, Train

CLASSES = ClassList(("ground", "thing"), ((0, 0, 0), (200, 100, 0)))


def test_every_picture_is_linked_and_every_link_is_a_picture(avatar_run: AvatarRun) -> None:
    report = (avatar_run.path / "report.md").read_text()
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)
    assert len(links) == len(set(links)) == 9
    assert {str(file.relative_to(avatar_run.path)) for file in avatar_run.path.glob("images/*")} == set(links)
    for link in links:
        with Image.open(avatar_run.path / link) as picture:
            picture.load()
            assert min(picture.size) > 20
            assert np.asarray(picture).std() > 0


def test_the_report_says_figures_with_their_protocol(avatar_run: AvatarRun) -> None:
    report = (avatar_run.path / "report.md").read_text()
    assert "- *inverted held-out images*: 4 rendered avataaars with exact masks (split heldout, seed 0)" in report
    assert "- *generated images*: 4 samples (seed 10, truncation 1) labelled by a U-Net with mIoU 0.500" in report
    assert "| mIoU, absent classes count as 0 (DatasetGAN) |" in report
    assert "## How many labels it takes" in report
    assert "avataaars-heldout-0-0000" in report
    assert str(avatar_run.bundle) in report
    assert "\n\n\n" not in report


def test_a_folder_s_report_has_what_its_labels_can_say(train_folder: Train, tmp_path: Path) -> None:
    assert train_folder("task.folds=2", "task.training.passes=1") == cli.OK
    report = (tmp_path / "run" / "report.md").read_text()
    pictures = ["labelled", "k-fold-on-the-labels", "classes-iou", "coverage", "reliability", "samples"]
    assert re.findall(r"\(images/(.+)\.png\)", report) == pictures
    said = "each of the 4 labelled images, inverted, segmented by a head that did not see it"
    assert f"- *k-fold on the labels*: {said}." in report
    for name in "abcd":  # the images that the members agree on least
        assert re.search(rf"\| {name} \| [\d.]+ \| [\d.]+ \|", report)
    assert "expected calibration error" in report  # of k-fold
    (opens,) = (line for line in report.splitlines() if line.startswith("editor = "))
    assert "generator=" in opens  # the bundle does not hold it, and it lies elsewhere
    found = {"load": load}
    exec(opens, found)
    assert found["editor"].classes.names == ("ground", "left", "right")


def test_an_overlay_tints_classes_and_leaves_ignored_pixels() -> None:
    images = np.full((1, 1, 3, 3), 100, np.uint8)
    images[0, 0, 2] = (255, 0, 0)
    found = overlay(images, np.array([[[0, 1, 255]]], np.uint8), CLASSES, strength=0.5)
    assert found[0, 0].tolist() == [[50, 50, 50], [150, 100, 50], [255, 0, 0]]


def test_the_colour_of_an_overlay_is_the_class_s_and_not_the_image_s() -> None:
    vivid = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    found = overlay(vivid, np.zeros((1, 1, 3), np.uint8), CLASSES)
    assert (found == found[..., :1]).all()  # black over anything is grey


def test_errors_are_red_where_truth_and_prediction_differ() -> None:
    found = errors(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 255]]]))[0, 0].astype(int)
    assert found[0].max() < 50
    assert found[1][0] > 2 * found[1][1]
    assert len(set(found[2])) == 1


def test_heat_rises_from_black_to_white_and_never_leaves_the_range() -> None:
    found = heat(np.array([[[-1.0, 0.0, 0.3, 0.6, 1.0, 9.0]]]), top=1.0)[0, 0].astype(int).sum(1)
    assert found.tolist() == sorted(found)
    assert (found[0], found[-1]) == (0, 3 * 255)


@pytest.mark.parametrize(("size", "shown"), [(16, 128), (64, 128), (256, 256), (1024, 256)])
def test_panels_of_any_size_fit_a_page(size: int, shown: int) -> None:
    sheet = panels({"a": np.zeros((3, size, size, 3), np.uint8), "b": np.zeros((3, size, size, 3), np.uint8)}, across=1)
    assert sheet.width == 2 * shown + 4


@pytest.mark.parametrize("width", [20, 500, 5000])
def test_a_legend_holds_the_longest_name(width: int) -> None:
    names = tuple(f"{'very ' * 8}long name {i}" for i in range(3))
    picture = np.asarray(legend(ClassList.of_names(names), width))
    assert (picture[:, -3:] == 255).all()  # no letter is cut off


def test_a_sheet_with_classes_has_their_legend_below() -> None:
    columns = {"a": np.zeros((1, 64, 64, 3), np.uint8)}
    plain, named = panels(columns), panels(columns, classes=CLASSES)
    assert named.height > plain.height
    assert (np.asarray(named)[plain.height :] == (200, 100, 0)).all(-1).any()


def test_runs_beside_one_another_are_plotted_and_published_values_are_marked() -> None:
    values = {"a": {1.0: Value(0.2, 0.1, 3), 16.0: Value(0.5, None, 1)}, "b": {1.0: Value(0.1, 0.0, 3)}}
    plain, marked = lines(values, "labels", "mIoU"), lines(values, "labels", "mIoU", {4.0: Value(0.3, None, 1)})
    assert np.asarray(plain).std() > 0
    assert plain.tobytes() != marked.tobytes()
    named = {"": {"ada": Value(3.0, 0.5, 2), "plain": Value(5.0, None, 1)}}
    plain, marked = bars(named, "kid"), bars(named, "kid", {"ada": Value(4.0, None, 1)})
    assert plain.size == marked.size
    assert plain.tobytes() != marked.tobytes()


def test_beginnings_of_sheets_stand_side_by_side_and_end_between_panels() -> None:
    sheet = panels({"a": np.zeros((6, 64, 64, 3), np.uint8), "b": np.zeros((6, 64, 64, 3), np.uint8)}, across=2)
    both = np.asarray(side_by_side({"one": sheet, "other": sheet}, size=(300, 200)))
    assert both.shape[1] == 2 * (2 * 128 + 4) + 16  # two panels each, none cut
    assert both.shape[0] == 26 + 26 + 128           # the name, the panels' captions, one row
    assert (both[-10:, 270:274] == 255).all()       # between them


def test_plots_take_absent_classes_and_a_single_count() -> None:
    coverage = risk_coverage(torch.rand(50), torch.rand(50))
    pictures = [
        class_bars({"one": {"ground": 0.5, "thing": float("nan")}}, CLASSES),
        coverage_curves({"one": coverage}),
        label_curve({1: 0.5}),
    ]
    assert all(np.asarray(picture).std() > 0 for picture in pictures)
