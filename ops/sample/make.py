#!/usr/bin/env python3
"""Cuts the sample gallery in this folder out of a larger set of encoded images.

usage: make.py SET MODEL.safetensors      SET holds query.npy query.csv gallery.npy gallery.csv

Keeps the first 28 classes that have a query, one query and four gallery images of each: 10.3 MB of
float16 feature maps. The result is committed; this script says how it came to be.
"""
import csv
import shutil
import sys

import numpy as np

CLASSES, GALLERY_PER_CLASS = 28, 4


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def cut(source, kind, chosen):
    maps = np.load(f"{source}/{kind}.npy", mmap_mode="r")
    rows = rows_of(f"{source}/{kind}.csv")
    np.save(f"{kind}.npy", np.ascontiguousarray(maps[chosen]))
    with open(f"{kind}.csv", "w", newline="", encoding="utf-8") as f:
        out = csv.DictWriter(f, rows[0].keys(), lineterminator="\n")
        out.writeheader()
        out.writerows(rows[i] for i in chosen)


def main():
    source, model = sys.argv[1:3]
    first_query = {}
    for i, row in enumerate(rows_of(f"{source}/query.csv")):
        first_query.setdefault(row["pid"], i)
    classes = sorted(first_query, key=int)[:CLASSES]
    by_class = {}
    for i, row in enumerate(rows_of(f"{source}/gallery.csv")):
        by_class.setdefault(row["pid"], []).append(i)
    cut(source, "query", [first_query[c] for c in classes])
    cut(source, "gallery", sorted(i for c in classes for i in by_class[c][:GALLERY_PER_CLASS]))
    shutil.copyfile(model, "model.safetensors")


main()
