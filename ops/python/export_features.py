#!/usr/bin/env python3
"""Encodes a dataset's images with the reference's encoder into the files that vitrine reads."""
from __future__ import annotations

import argparse
import collections
import csv
import fcntl
import os
import shutil
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Iterator

import command
from command import Refused

EXAMPLES = """\
examples:
  export_features.py --checkpoint checkpoint.pth.tar --images Market-1501 --names market1501 \\
      --out features
  export_features.py --checkpoint checkpoint.pth.tar --images photos --csv query.csv \\
      --csv gallery.csv --size 192x192 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\
      --out features

The folder --out appears whole at the end. In it are query.npy and gallery.npy, feature maps
[images, height, width, layers * channels], and query.csv and gallery.csv beside them, columns
name,pid,camid,timestamp; with --csv, one pair for each FILE, of its name. Maps go to disk batch by
batch; until all are there they lie in OUT.partial, which a killed run leaves and the next replaces.

--names says what the dataset's file names mean. Images are read from
  market1501, cuhk03-np  query, bounding_box_test   0001_c1s1_000151_01.jpg: identity 1, camera 1
  veri                   image_query, image_test    0002_c002_00030600_0.jpg
  msmt17                 test or mask_test_v2, as list_query.txt and list_gallery.txt have them
Junk (identity -1) is left out. --csv takes any images: names below --images, with their labels.

An image is read as RGB, resized as a whole to --size (bicubic), divided by 255. So does the
reference; say --mean and --std if yours was trained with them. --encoder takes size, mean, std and
heads from a file that export_checkpoint.py --encoder wrote. Then:
  vitrine import --model model.safetensors --features features/gallery.npy \\
      --meta features/gallery.csv --out gallery

exit codes: 0 written, 1 an input cannot be used, 2 a flag is wrong, 130 interrupted"""


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="export_features.py", description=__doc__, epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, metavar="FILE",
                   help="the reference's checkpoint.pth.tar (nothing in it is executed)")
    p.add_argument("--images", required=True, metavar="DIR", help="the dataset's folder")
    p.add_argument("--out", required=True, metavar="DIR", help="folder to make; must not exist")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--names", choices=["market1501", "msmt17", "veri", "cuhk03-np"],
                      help="how the dataset names its images")
    what.add_argument("--csv", action="append", metavar="FILE",
                      help="images and their labels: name,pid,camid[,timestamp]; may be repeated")
    p.add_argument("--encoder", metavar="FILE", help="encoder.safetensors, for what it says of "
                   "size, mean, std and heads; flags override it")
    p.add_argument("--size", type=command.pixels, metavar="HxW",
                   help="what images are resized to (default 384x128 if that fits the matcher)")
    command.add_training(p)
    p.add_argument("--dtype", choices=["float16", "float32"], default="float16",
                   help="of the maps (default float16)")
    p.add_argument("--batch", type=command.positive, default=64, metavar="N",
                   help="images encoded at a time (default 64)")
    p.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: cuda if there)")
    p.add_argument("--workers", type=command.positive, default=min(8, os.cpu_count() or 1),
                   metavar="N", help="threads reading images (default: one a processor, at most 8)")
    p.add_argument("--skip-broken", action="store_true",
                   help="leave out images that cannot be read, instead of stopping at the first")
    return p.parse_args()


# --- what is to be done ------------------------------------------------------------------------


def note(text: str) -> None:
    """A line of its own on stderr, also where the line of progress stands on a terminal."""
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + f"export_features: {text}", file=sys.stderr)


def read_lists(args: argparse.Namespace) -> dict[str, list]:
    """The images of each pair of files to write."""
    import folders
    if args.names:
        lists = folders.read_names(args.images, args.names)
        warning = folders.count_note(args.names, lists)
        if warning:
            note(warning)
        return lists
    lists = {}
    for path in args.csv:
        stem = os.path.splitext(os.path.basename(path))[0]
        if stem in lists:
            raise Refused(f"{path}: another --csv is called {stem}, too; both would be {stem}.npy")
        lists[stem] = folders.read_csv(path)
    return lists


def fill_in(args: argparse.Namespace, tokens: int) -> None:
    """Size, mean, std and heads: of the flags, else --encoder, else the reference."""
    if args.encoder:
        from formats import read_safetensors
        said = read_safetensors(args.encoder)[0]
        try:
            if "input_height" in said:
                args.size = args.size or command.pixels(
                    f"{said['input_height']}x{said.get('input_width')}")
            args.mean = args.mean or command.three_numbers(said.get("mean", "0,0,0"))
            args.std = args.std or command.three_numbers(said.get("std", "1,1,1"))
            args.heads = args.heads or command.positive(said.get("nhead", "1"))
        except argparse.ArgumentTypeError as e:
            raise Refused(f"{args.encoder}: __metadata__: {e}") from None
    args.size = args.size or ((384, 128) if tokens == 24 * 8 else None)
    args.mean, args.std = args.mean or (0.0,) * 3, args.std or (1.0,) * 3
    if args.size is None:
        raise Refused(f"the matcher was trained on maps of {tokens} tokens, which images of "
                      "384x128 do not give; say --size HEIGHTxWIDTH as it was in training")
    if not all(args.std):
        raise Refused("--std holds a 0")


def open_encoder(args: argparse.Namespace):
    """The encoder on its device, once its maps are known to be what the matcher takes."""
    import torch
    import checkpoint
    import encoder
    source = checkpoint.Checkpoint(args.checkpoint)
    matcher = checkpoint.read_matcher(source, args.channels)
    fill_in(args, matcher.tokens)
    net = encoder.build(source, matcher, args.heads or 1)
    height, width = net.map_size(*args.size)
    if height * width != matcher.tokens:
        raise Refused(f"--size {args.size[0]}x{args.size[1]} gives maps of {height} x {width} "
                      f"tokens; the matcher was trained on {matcher.tokens}")
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        net.to(args.device)
    except (RuntimeError, AssertionError) as e:
        raise Refused(f"--device {args.device}: {str(e).splitlines()[0]}") from None
    return net, (height, width, matcher.channels * matcher.layers)


# --- images --------------------------------------------------------------------------------------


def read_image(path: str, size: tuple[int, int]):
    """RGB bytes [height, width, 3]; what is wrong with the file instead, if anything is."""
    import numpy as np
    from PIL import Image
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize(size[::-1], Image.BICUBIC))
    except Exception as e:  # a damaged image raises anything
        return e


def read_batches(args: argparse.Namespace, images: list) -> Iterator[tuple[list, list]]:
    """Images and their pixels, a batch after the other; the next is read meanwhile."""
    with ThreadPoolExecutor(args.workers) as pool:
        ahead: collections.deque[tuple[list, list[Future]]] = collections.deque()
        try:
            for start in range(0, len(images), args.batch):
                batch = images[start:start + args.batch]
                ahead.append((batch, [pool.submit(read_image, os.path.join(args.images, i.name),
                                                  args.size) for i in batch]))
                if len(ahead) > 1:
                    batch, futures = ahead.popleft()
                    yield batch, [f.result() for f in futures]
            while ahead:
                batch, futures = ahead.popleft()
                yield batch, [f.result() for f in futures]
        finally:
            for future in (f for _, futures in ahead for f in futures):
                future.cancel()


def sound_only(args: argparse.Namespace, batch: list, pixels: list) -> tuple[list, list]:
    """The images that could be read. The first that could not is the end, unless --skip-broken."""
    good = [], []
    for image, values in zip(batch, pixels):
        if not isinstance(values, Exception):
            good[0].append(image)
            good[1].append(values)
            continue
        text = f"{os.path.join(args.images, image.name)}: cannot be read as an image ({values})"
        if not args.skip_broken:
            raise Refused(f"{text}; --skip-broken leaves such images out")
        note(f"left out: {text}")
    return good


def encode(args: argparse.Namespace, net, batch: list, pixels: list):
    """Maps of a batch, in args.dtype, finite."""
    import numpy as np
    import torch
    try:
        with torch.no_grad():
            x = torch.from_numpy(np.stack(pixels)).to(args.device)
            x = x.permute(0, 3, 1, 2).float().div(255)
            mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1)
                         for v in (args.mean, args.std))
            maps = net((x - mean) / std).to(getattr(torch, args.dtype)).cpu()
            finite = torch.isfinite(maps.float()).flatten(1).all(dim=1)
    except RuntimeError as e:  # no memory, mostly
        raise Refused(f"--batch {args.batch} on {args.device}: {str(e).splitlines()[0]}") from None
    if not finite.all():
        name = batch[finite.tolist().index(False)].name
        hint = ": try --dtype float32" if args.dtype == "float16" else ""
        raise Refused(f"{name}: its feature map is not finite in {args.dtype}{hint}")
    return maps.numpy()


# --- files ---------------------------------------------------------------------------------------


class Progress:
    """A line on stderr: rewritten on a terminal, else one every 30 seconds."""

    def __init__(self, total: int):
        self.total, self.done, self.start, self.said = total, 0, time.monotonic(), 0.0
        self.terminal = sys.stderr.isatty()

    def add(self, count: int, name: str) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said < (0.2 if self.terminal else 30) and self.done < self.total:
            return
        self.said = now
        rate = self.done / max(now - self.start, 1e-9)
        left = (self.total - self.done) / rate
        line = (f"{self.done} of {self.total} images ({name}), {rate:.1f} images/s, "
                f"{int(left) // 60}:{int(left) % 60:02d} left")
        end = "\n" if not self.terminal or self.done == self.total else ""
        print(("\r\x1b[K" if self.terminal else "") + line, end=end, file=sys.stderr, flush=True)


def export_list(args: argparse.Namespace, net, shape, stem: str, images: list,
                progress: Progress) -> int:
    """Writes one pair of files into OUT.partial; how many images they hold."""
    from formats import NpyRows
    base = os.path.join(args.out + ".partial", stem)
    with NpyRows(base + ".npy", shape, args.dtype) as maps, \
            open(base + ".csv", "w", newline="", encoding="utf-8") as f:
        labels = csv.writer(f, lineterminator="\n")
        labels.writerow(["name", "pid", "camid", "timestamp"])
        for batch, pixels in read_batches(args, images):
            kept, pixels = sound_only(args, batch, pixels)
            if kept:
                maps.append(encode(args, net, kept, pixels))
                labels.writerows(kept)
            progress.add(len(batch), stem)
        f.flush()
        os.fsync(f.fileno())
    if not maps.rows:
        raise Refused(f"{stem}: none of its {len(images)} images could be read")
    return maps.rows


def claim_partial(args: argparse.Namespace, bytes_needed: int) -> str:
    """OUT.partial, empty: what a killed run left there is removed, anything else is not touched."""
    args.out = os.path.normpath(args.out)
    partial = args.out + ".partial"
    if os.path.lexists(args.out):
        raise Refused(f"{args.out} is in the way: remove it, or choose another --out")
    os.makedirs(partial, exist_ok=True)
    try:  # held until this process ends
        fcntl.flock(os.open(partial, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(f"{partial}: another export writes there") from None
    for name in os.listdir(partial):
        if not name.endswith((".npy", ".csv")):
            raise Refused(f"{partial} holds '{name}', which no export left there: move it away")
    for name in os.listdir(partial):
        os.unlink(os.path.join(partial, name))
    free = shutil.disk_usage(partial).free
    if free < bytes_needed:
        os.rmdir(partial)
        raise Refused(f"{args.out}: the maps take {bytes_needed / 1e9:.2f} GB, the disk has "
                      f"{free / 1e9:.2f} GB left")
    return partial


def export(args: argparse.Namespace) -> None:
    if not os.path.isdir(args.images):
        raise Refused(f"{args.images}: no such folder")
    lists = read_lists(args)
    total = sum(map(len, lists.values()))
    net, shape = open_encoder(args)
    image_bytes = shape[0] * shape[1] * shape[2] * (2 if args.dtype == "float16" else 4)
    partial = claim_partial(args, total * image_bytes)
    note(f"{net.plan.name} on {args.device}, images of {args.size[0]}x{args.size[1]}, "
         f"mean {args.mean}, std {args.std}")
    progress, lines = Progress(total), []
    try:
        for stem, images in lists.items():
            rows = export_list(args, net, shape, stem, images, progress)
            left_out = f", {len(images) - rows} left out" if rows < len(images) else ""
            lines.append(f"{os.path.join(args.out, stem)}.npy: {rows} maps of "
                         f"{shape[0]} x {shape[1]} x {shape[2]}, {args.dtype}{left_out}")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.rename(partial, args.out)
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(command.run(export, parse(), "export_features"))
