"""Which images a dataset folder holds, and who is on them by its naming rules.

The labels are those of `vitrine import --names`: cameras count from 1, as in the names; identity -1
(junk) is left out; identity 0 of Market-1501 (distractors) stays, and so MSMT17's identities, which
count from 0, are one higher. Timestamps are 0: a frame number means nothing across sessions.
"""
from __future__ import annotations

import csv
import os
import re
from typing import NamedTuple

from command import Refused

EXTENSIONS = (".jpg", ".jpeg", ".png")
MARKET = {"query": "query", "gallery": "bounding_box_test"}, re.compile(r"(-?\d+)_c(\d)")
PATTERNS = {"market1501": MARKET, "cuhk03-np": MARKET,
            "veri": ({"query": "image_query", "gallery": "image_test"},
                     re.compile(r"(\d+)_c(\d\d\d)"))}
MSMT_FOLDERS = ("test", "mask_test_v2")  # V1, V2
# Queries and gallery images without junk; CUHK03-NP detected and labelled.
PUBLISHED = {"market1501": [(3368, 15913)], "cuhk03-np": [(1400, 5332), (1400, 5328)],
             "msmt17": [(11659, 82161)], "veri": [(1678, 11579)]}
NAMES = tuple(PUBLISHED)


class Image(NamedTuple):
    name: str  # its path below the dataset's folder
    pid: int
    camid: int
    timestamp: int


def image_of(where: str, name: str, pid: int, camid: int, timestamp: int = 0) -> Image:
    """The image, if a CSV file of vitrine's can hold its name."""
    try:
        data = name.encode()
    except UnicodeEncodeError:
        data = b""
    if not data or name != name.strip() or any(b < 32 or b == 127 for b in data):
        raise Refused(f"{where}: the name {ascii(name)} is empty, no UTF-8, begins or ends with a "
                      "space, or holds a control character")
    return Image(name, pid, camid, timestamp)


def read_names(folder: str, naming: str) -> dict[str, list[Image]]:
    """The query and gallery images of a dataset, sorted by name as the reference has them."""
    splits = read_msmt17(folder) if naming == "msmt17" else read_patterns(folder, naming)
    for split, images in splits.items():
        if not images:
            raise Refused(f"{folder}: no images for {split} there")
    return splits


def read_patterns(folder: str, naming: str) -> dict[str, list[Image]]:
    splits: dict[str, list[Image]] = {}
    subfolders, pattern = PATTERNS[naming]
    for split, subfolder in subfolders.items():
        path = os.path.join(folder, subfolder)
        if not os.path.isdir(path):
            raise Refused(f"{path}: no such folder; {naming} has its {split} images there")
        splits[split] = []
        for file in sorted(os.listdir(path)):
            if not file.lower().endswith(EXTENSIONS):
                continue
            found = pattern.match(file)
            if not found:
                raise Refused(f"{os.path.join(path, file)}: no name as {naming} has them "
                              f"({pattern.pattern}...)")
            pid, camera = int(found.group(1)), int(found.group(2))
            if pid != -1:
                splits[split].append(image_of(path, f"{subfolder}/{file}", pid, camera))
    return splits


def read_msmt17(folder: str) -> dict[str, list[Image]]:
    subfolder = next((f for f in MSMT_FOLDERS if os.path.isdir(os.path.join(folder, f))), None)
    if subfolder is None:
        raise Refused(f"{folder}: holds neither {' nor '.join(MSMT_FOLDERS)}, where msmt17 has its "
                      "images")
    splits: dict[str, list[Image]] = {}
    for split in ("query", "gallery"):
        path = os.path.join(folder, f"list_{split}.txt")
        splits[split] = []
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:  # 0000/0000_000_01_0303morning_0015_0.jpg 0
                    name, pid = line.split()
                    camera = int(name.split("_")[2])
                    image = image_of(path, f"{subfolder}/{name}", int(pid) + 1, camera)
                    splits[split].append(image)
                except (ValueError, IndexError):
                    raise Refused(f"{path}: line {number}: expected 'path pid', the path's third "
                                  "part between underscores being the camera") from None
    return splits


def read_csv(path: str) -> list[Image]:
    """Images of a CSV file as vitrine takes it: name, pid, camid and, if there, timestamp."""
    images = []
    with open(path, newline="", encoding="utf-8-sig") as f:
        rows = csv.DictReader(f)
        missing = {"name", "pid", "camid"} - set(rows.fieldnames or ())
        if missing:
            raise Refused(f"{path}: no column {', '.join(sorted(missing))} in its first row; "
                          "expected name,pid,camid and optionally timestamp")
        for row in rows:
            try:
                images.append(image_of(path, row["name"].strip(), int(row["pid"]),
                                       int(row["camid"]), int(row.get("timestamp") or 0)))
            except (TypeError, ValueError, AttributeError):
                raise Refused(f"{path}: line {rows.line_num}: expected a name and whole numbers as "
                              "pid, camid and timestamp") from None
    if not images:
        raise Refused(f"{path}: names no images")
    return images


def count_note(naming: str, splits: dict[str, list[Image]]) -> str | None:
    """A word of warning if a dataset has not as many images as were published."""
    counts = len(splits["query"]), len(splits["gallery"])
    if counts in PUBLISHED[naming]:
        return None
    published = " or ".join(f"{q} and {g}" for q, g in PUBLISHED[naming])
    return (f"{naming} was published with {published} query and gallery images; "
            f"here are {counts[0]} and {counts[1]}")
