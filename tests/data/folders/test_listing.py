"""Listing of image folders: names of the sets, links, sidecars, odd names, and folders that cannot be read."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import CLASSES, load, picture, save

import main
from Utils.data.folders import listing
from Utils.data.folders.listing import find_split, list_folder
from Utils.data.image_spec import ImageSpec
from Utils.data.imagenet import ImageNet
from Utils.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def run(root: Path, capsys) -> str:
    """The error output of main.py, which is one line."""
    words = ["--data=imagefolder", f"--path_to_data={root}", f"--out_path={root.parent / 'out'}", "--architecture=fc"]
    assert main.main(words) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and printed.startswith("main.py: ") and not (root.parent / "out").exists()
    return printed


PAIRS = [
    ("Training", "Testing"), ("Train", "Test"), ("TRAIN", "TEST"), ("train", "VALID"), ("training", "Validation"),
    ("Train", "val"), ("seg_train", "seg_test"), ("training_set", "test_set"), ("train2017", "val2017"),
    ("train-images", "testing data"), ("my.train", "my.val"),
]  # fmt: skip


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_names_of_both_sets(folder, train, test):
    expected = list_folder(folder)
    (folder / "train").rename(folder / train)
    (folder / "test").rename(folder / test)
    found = list_folder(folder)
    assert find_split(folder) == (train, test) and found.classes == CLASSES
    assert found.train == tuple(name.replace("train/", f"{train}/", 1) for name in expected.train)
    assert found.test == tuple(name.replace("test/", f"{test}/", 1) for name in expected.test)
    assert (found.train_labels, found.test_labels) == (expected.train_labels, expected.test_labels)


@pytest.mark.parametrize("name", ["trainer", "contest", "restrain", "bullet train", "valve", "test tube", "unit_test"])
def test_classes_that_only_sound_like_a_set(tmp_path, name):
    for class_name in (name, "bee"):
        for index in range(2):
            save(tmp_path / "one" / class_name / f"{index}.png", picture(index))
    assert list_folder(tmp_path / "one").classes == tuple(sorted((name, "bee")))


@pytest.mark.parametrize("name", ["Testing", "VAL", "train", "Training"])
def test_one_set_without_the_other_is_refused(folder, name, capsys):
    (folder / "train").rename(folder / "bee")
    (folder / "test").rename(folder / name)
    printed = run(folder, capsys)
    assert f"has {name}/ but no " in printed and f"a class called {name} needs another name" in printed


def test_names_that_are_equally_good_are_refused_and_others_are_mentioned(folder, capsys):
    shutil.copytree(folder / "train", folder / "Train")
    assert "has Train/ and train/, and either may be the training set; keep one of them" in run(folder, capsys)
    (folder / "Train").rename(folder / "Training")
    with pytest.warns(UserWarning, match="train/ is the training set, Training/ is not used"):
        assert find_split(folder) == ("train", "test")


def test_a_test_set_without_classes_gives_way(folder):
    """ImageNet and many contests have unlabelled images in test/ and labelled ones in val/."""
    (folder / "test").rename(folder / "val")
    save(folder / "test" / "unlabelled.png", picture(0))
    with pytest.warns(UserWarning, match="val/ is the test set, test/ is not used"):
        assert len(list_folder(folder).test) == 3
        assert ImageNet(folder, ImageSpec((3, 32, 32))).find()


def test_a_class_without_test_images_is_mentioned_and_one_without_training_images_refused(folder, capsys):
    shutil.rmtree(folder / "test" / "bee")
    with pytest.warns(UserWarning, match="test has no images of 'bee'"):
        assert list_folder(folder).test_labels == (0, 2)
    shutil.rmtree(folder / "train" / "cat")
    assert "test has classes that train/ lacks: cat" in run(folder, capsys)


def test_folders_of_systems_and_archives_are_no_classes(folder):
    expected = list_folder(folder)
    for name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"):
        for place in (folder, folder / "train", folder / "train" / "ant"):
            save(place / name / "thumbnail.png", picture(1))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (folder / "train" / name).touch()
        (folder / "train" / "ant" / name).touch()
    assert list_folder(folder) == expected
    shutil.rmtree(folder / "test")
    one = folder / "train"
    assert list_folder(one).classes == CLASSES, "nor in the other layout"


def test_links_to_folders_inside_a_class_are_followed(folder, tmp_path):
    save(tmp_path / "disk" / "deeper" / "x.PNG", picture(1))
    save(tmp_path / "disk" / "y.png", picture(2))
    (folder / "train" / "ant" / "more").symlink_to(tmp_path / "disk")
    (folder / "train" / "dog").symlink_to(tmp_path / "disk" / "deeper")
    with pytest.warns(UserWarning, match="no images of 'dog'"):
        files = list_folder(folder).train
    assert {"train/ant/more/deeper/x.PNG", "train/ant/more/y.png", "train/dog/x.PNG"} < set(files)
    assert len(files) == 15 + 3


def test_a_folder_that_is_linked_twice_counts_once_under_its_own_path(folder):
    real = folder / "train" / "ant" / "z"
    save(real / "0.png", picture(50))
    expected = list_folder(folder)
    (folder / "train" / "ant" / "a").symlink_to(real)
    (folder / "train" / "ant" / "b").symlink_to(real)
    assert list_folder(folder) == expected
    for number in range(40):  # 2 to the power of 40 paths
        level = folder / "train" / "bee" / f"level{number}"
        level.mkdir()
        for name in ("left", "right"):
            (level / name).symlink_to(f"../level{number + 1}")
    (folder / "train" / "bee" / "level40").mkdir()
    assert list_folder(folder) == expected


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/"])
def test_a_link_to_a_folder_around_it_is_refused(folder, target, capsys):
    (folder / "train" / "ant" / "deeper").mkdir()
    (folder / "train" / "ant" / "link").symlink_to(target)
    printed = run(folder, capsys)
    assert ("lead in a circle: train/ant" if target == "." else "ant/link is a link to a folder that contains it") in (
        printed
    )


def test_links_to_each_other_and_to_themselves_are_refused(folder, capsys):
    ant = folder / "train" / "ant"
    for name, other in (("one", "two"), ("two", "one")):
        (ant / name).mkdir()
        (ant / name / "link").symlink_to(f"../{other}")
    printed = run(folder, capsys)
    assert "lead in a circle: " in printed and "train/ant/one" in printed and "train/ant/two" in printed
    (ant / "one" / "link").unlink()
    assert len(list_folder(folder).train) == 15
    (ant / "one" / "link").symlink_to("link")
    assert "link is unreadable: too many levels of symbolic links" in run(folder, capsys)


@given(links=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=9))
@settings(max_examples=80, deadline=None)
def test_links_between_folders_in_any_order(tmp_path_factory, links):
    """Each folder that can be reached is listed once; what can be walked forever is refused."""
    root = tmp_path_factory.mktemp("links")
    for number in range(6):
        save(root / f"{number}" / "image.png", picture(number))
    (root / "images" / "bee").mkdir(parents=True)
    save(root / "images" / "bee" / "0.png", picture(0))
    save(root / "images" / "bee" / "1.png", picture(1))
    (root / "images" / "ant").symlink_to(root / "0")
    save(root / "0" / "second.png", picture(7))
    for source, target in links:
        (root / f"{source}" / f"to{target}").symlink_to(root / f"{target}")

    def reached(number: int, path: tuple[int, ...]) -> set[int]:
        if number in path:
            raise RecursionError
        below = (reached(target, (*path, number)) for source, target in links if source == number)
        return {number}.union(*below)

    try:
        expected = {root / f"{number}" / "image.png" for number in reached(0, ())} | {root / "0" / "second.png"}
    except RecursionError:
        with pytest.raises(UserError, match="lead in a circle"):
            list_folder(root / "images")
        return
    found = list_folder(root / "images")
    ants = [name for name in (*found.train, *found.test) if name.startswith("ant/")]
    assert sorted((root / "images" / name).resolve() for name in ants) == sorted(expected)


def test_links_to_nowhere_are_no_missing_classes(folder, capsys):
    (folder / "train" / "dog").symlink_to(folder / "gone")
    assert "train/dog is a link to nowhere; repair or delete it" in run(folder, capsys)
    (folder / "train" / "dog").unlink()
    (folder / "train" / "README.md").symlink_to(folder / "gone")
    (folder / "train" / "ant" / "more").symlink_to(folder / "gone")
    assert "train/ant/more is a link to nowhere; repair or delete it" in run(folder, capsys)


def test_the_same_image_in_both_sets_is_mentioned(folder):
    (folder / "train" / "ant" / "leak.png").symlink_to(folder / "test" / "ant" / "0.png")
    os.link(folder / "test" / "bee" / "0.png", folder / "train" / "bee" / "leak.png")
    with pytest.warns(UserWarning, match="2 images are in both sets, by links"):
        assert len(load(folder).train) == 17


def test_names_that_are_not_utf8(folder, tmp_path, capsys):
    odd = "n\udcff\n\x1b[1m"  # bytes outside UTF-8, a line break, and a colour for a terminal
    (folder / "train" / "ant").rename(folder / "train" / odd)
    printed = run(folder, capsys)
    assert "has classes that train/ lacks: ant" in printed
    (folder / "test" / "ant").rename(folder / "test" / odd)
    (folder / "train" / "bee" / "0.png").rename(folder / "train" / "bee" / "\udcfe.png")
    assert load(folder).classes == 3 and len(load(folder).train) == 15
    (folder / "train" / "bee" / "\udcfd.png").write_bytes(b"nothing")
    assert "cannot be read: train/bee/" in run(folder, capsys)
    shutil.rmtree(folder / "test")
    (folder / "train").rename(tmp_path / "one")
    shutil.copy(tmp_path / "one" / "bee" / "2.png", tmp_path / "one" / "bee" / "\udcfd.png")
    assert len(load(tmp_path / "one").test) == 3


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "é" * 200])
def test_paths_that_no_folder_can_have(tmp_path, name, capsys):
    words = ["--data=imagefolder", f"--path_to_data={tmp_path}/{name}", f"--out_path={tmp_path / 'out'}"]
    assert main.main(words) == 2 and main.main([*words, "--status"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 2 and ("File name too long" in printed or "is no folder" in printed)


@pytest.mark.parametrize("function", ["scandir", "stat"])
@pytest.mark.parametrize("place", ["train", "train/ant", "train/ant/deeper"])
def test_folders_that_cannot_be_read_or_searched_are_named(folder, monkeypatch, capsys, place, function):
    """Removed permissions do not stop an administrator, so the calls of the system fail instead."""
    (folder / "train" / "ant" / "deeper").mkdir()
    original = getattr(os, function)

    def denied(path, *arguments, **keywords):
        if Path(os.fsdecode(path)) == folder / place:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *arguments, **keywords)

    monkeypatch.setattr(listing.os, function, denied)
    assert f"{folder / place} is unreadable: permission denied" in run(folder, capsys)
