"""Listing of an image folder: the files of both sets and their classes, from the names of its folders.

The layout is `FOLDER/train/<class>/*` and `FOLDER/test/<class>/*` (or `val`), or `FOLDER/<class>/*`. In the second
layout, a fixed fifth of each class is the test set. Links to folders are followed.
"""

import hashlib
import os
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from Utils.data.folders.decoding import SUFFIXES
from Utils.data.folders.messages import first_names
from Utils.errors import UserError
from Utils.files import is_folder, unreadable

LAYOUT = "FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, or FOLDER/CLASS/*"

_TRAIN_WORDS = ("train", "training")
_TEST_WORDS = ("test", "testing", "val", "valid", "validation")
"""Names of the folders of a set, in any case, in order of preference."""

_LONGER_NAME = re.compile(rf"(?:.*[\W_])?({'|'.join(_TRAIN_WORDS + _TEST_WORDS)})[\W_]*(?:set|data|images?|\d+)?")
"""Longer names of such folders, which count only as a pair: `seg_train` and `seg_test`, `train_set` and `test_set`."""

_TEST_SHARE = 0.2

_NO_CLASSES = frozenset((
    "__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found",
))  # fmt: skip
"""Folders that operating systems and archives create, with copies and thumbnails of images in some."""


@dataclass(frozen=True)
class Listing:
    """The files of both sets, as paths relative to the root of a folder, and the class index of each file."""

    classes: tuple[str, ...]
    train: tuple[str, ...]
    train_labels: tuple[int, ...]
    test: tuple[str, ...]
    test_labels: tuple[int, ...]


def list_folder(root: Path) -> Listing:
    """List the images of either layout, in a fixed order; raises `UserError` if the folder has neither."""
    if not is_folder(root):
        raise UserError(f"--path_to_data={root} is no folder; --data=imagefolder needs {LAYOUT}")
    split = find_split(root)
    if split is not None:
        return _list_two_sets(root, *split)
    for name in _subfolders(root):
        if name.lower() in _TRAIN_WORDS + _TEST_WORDS:
            missing = "test/ (or val/)" if name.lower() in _TRAIN_WORDS else "train/"
            advice = f"expected {LAYOUT}; a class called {name} needs another name"
            raise UserError(f"{root} has {name}/ but no {missing} beside it; {advice}")
    return _split_classes(root)


def find_split(root: Path) -> tuple[str, str] | None:
    """Names of the folders of the training and the test set, or None; raises `UserError` if they are ambiguous."""
    words = {name: _set_word(name) for name in _subfolders(root)}
    train = {name: word for name, word in words.items() if word in _TRAIN_WORDS}
    test = {name: word for name, word in words.items() if word in _TEST_WORDS}
    if not train or not test:
        return None
    return _preferred(root, train, "training"), _preferred(root, test, "test")


def make_listing(root: Path, train: dict[str, list[str]], test: dict[str, list[str]]) -> Listing:
    """Create a listing from the files of each class; raises `UserError` if there are fewer than two classes."""
    classes = tuple(train)
    if len(classes) < 2:
        raise UserError(f"{root} has {len(classes)} class of images, and at least 2 are needed: {LAYOUT}")
    numbers = {name: number for number, name in enumerate(classes)}

    def flat(files: dict[str, list[str]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        pairs = [(file, numbers[name]) for name in classes for file in files.get(name, [])]
        return tuple(file for file, _ in pairs), tuple(number for _, number in pairs)

    return Listing(classes, *flat(train), *flat(test))


def images_by_class(root: Path, prefix: str) -> dict[str, list[str]]:
    """Image files of each class folder, without hidden files; raises `UserError` if a class has none.

    `prefix` is the folder of the class folders. Paths are relative to the root.
    """
    top = root / prefix
    above = {_identity(folder) for folder in (top, root, *root.resolve().parents)}
    files_by_class = {name: _list_images(root, f"{prefix}{name}", above) for name in _subfolders(top)}
    if not any(files_by_class.values()):
        raise UserError(f"{top} holds no images in folders of classes; expected {LAYOUT}")
    empty = [name for name, files in files_by_class.items() if not files]
    if empty:
        raise UserError(f"no images in {first_names(f'{prefix}{name}' for name in empty)} of {root}; delete or fill it")
    return files_by_class


def _set_word(name: str) -> str:
    match = _LONGER_NAME.fullmatch(name.lower())
    return match[1] if match else ""


def _preferred(root: Path, words: dict[str, str], role: str) -> str:
    """The folder of a set among several, by name; raises `UserError` if two are equally good."""

    def rank(name: str) -> tuple[bool, bool, int]:
        is_unlabelled = not _subfolders(root / name)
        return is_unlabelled, name.lower() != words[name], (_TRAIN_WORDS + _TEST_WORDS).index(words[name])

    chosen, *others = sorted(words, key=rank)
    if others and rank(others[0]) == rank(chosen):
        raise UserError(f"{root} has {chosen}/ and {others[0]}/, and either may be the {role} set; keep one of them")
    if others:
        unused = " and ".join(f"{name}/" for name in others)
        warnings.warn(f"{root}: {chosen}/ is the {role} set, {unused} is not used", stacklevel=2)
    return chosen


def _list_two_sets(root: Path, train_name: str, test_name: str) -> Listing:
    train, test = images_by_class(root, f"{train_name}/"), images_by_class(root, f"{test_name}/")
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise UserError(f"{root / test_name} has classes that {train_name}/ lacks: {first_names(unknown)}")
    untested = [name for name in train if name not in test]
    if untested:
        warnings.warn(f"{root / test_name} has no images of {first_names(map(repr, untested))}", stacklevel=3)
    return make_listing(root, train, test)


def _split_classes(root: Path) -> Listing:
    train, test = {}, {}
    for name, files in images_by_class(root, "").items():
        if len(files) < 2:
            raise UserError(f"class {name!r} of {root} has one image; it needs one to train with and one to test")
        # Ordered by a hash of the name: when images are added, the others (nearly always) stay in their set.
        order = sorted(files, key=lambda file: hashlib.blake2b(os.fsencode(file), digest_size=8).digest())
        count = max(1, round(_TEST_SHARE * len(files)))
        train[name], test[name] = sorted(order[count:]), sorted(order[:count])
    return make_listing(root, train, test)


def _list_images(root: Path, path: str, above: set[tuple[int, int]]) -> list[str]:
    """Image files of a class and of the folders below it; a folder that is reached twice by links counts once.

    `above` identifies the folders around the class. Raises `UserError` for links that lead in a circle.
    """
    files: list[str] = []
    paths: dict[tuple[int, int], str] = {}
    subfolders: dict[Any, set[tuple[int, int]]] = defaultdict(set)
    pending: list[tuple[str, Any]] = [(path, None)]
    links: list[tuple[str, Any]] = []
    while pending or links:  # links come last, so that a folder is listed under its own path
        path, parent = pending.pop() if pending else links.pop(0)
        identity = _identity(root / path)
        if identity in above:
            raise UserError(f"{root / path} is a link to a folder that contains it; delete the link")
        subfolders[parent].add(identity)
        if identity in paths:
            continue
        paths[identity] = path
        for entry in _entries(root / path):
            child = f"{path}/{entry.name}"
            if _is_folder(entry):
                (links if entry.is_symlink() else pending).append((child, identity))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                files.append(child)
    try:
        TopologicalSorter(subfolders).prepare()
    except CycleError as error:
        circle = first_names(paths[identity] for identity in error.args[1][1:])
        raise UserError(f"links below {root} lead in a circle: {circle}; delete one of them") from error
    return sorted(files)


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if _is_folder(entry)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Entries in order of their names, without hidden ones; raises `UnreadableError`."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _NO_CLASSES]
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; raises `UserError` for a link to nowhere that may mean one."""
    try:
        if not entry.is_dir() and entry.is_symlink() and not os.path.splitext(entry.name)[1]:
            entry.stat()
        return entry.is_dir()
    except FileNotFoundError as error:
        raise UserError(f"{entry.path} is a link to nowhere; repair or delete it") from error
    except OSError as error:
        raise unreadable(entry.path, error) from error


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    return status.st_dev, status.st_ino
