"""A training checkpoint of the reference, {'model', 'criterion', 'optim', 'epoch'}, as arrays.

torch.load runs whatever code the file asks for, and its weights_only of PyTorch 1.13 refuses every
checkpoint whose optimizer holds a float, as a real one does. So the file is read here, whatever the
PyTorch: what torch.save writes is a zip with one pickle and the raw bytes of each storage. Of the
classes that the pickle names only those of tensors and OrderedDict mean anything; any other becomes
an empty object, and nothing that the file names is ever called. Needs NumPy alone.
"""
from __future__ import annotations

import collections
import io
import pickle
import re
import zipfile
from typing import Any, NamedTuple

import numpy as np

from command import Refused

DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
          "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
          "BoolStorage": "?", "BFloat16Storage": "<u2"}


# --- the file ----------------------------------------------------------------------------------


class Inert:
    """Stands for an object of a class that a checkpoint names and nobody here needs."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def ignore(self, *_: Any) -> Inert:
        return self

    # All that a pickle can do with an object.
    __call__ = __setstate__ = __setitem__ = append = extend = add = update = ignore


class Storage(NamedTuple):
    kind: str  # a key of DTYPES
    name: str  # of the zip's member


class Tensor(NamedTuple):
    """A tensor whose bytes are still in the file."""
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


KNOWN = {("collections", "OrderedDict"): collections.OrderedDict,
         ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
         ("torch._utils", "_rebuild_parameter"): rebuild_parameter}


class Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return name
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Storage:
        _, kind, key, _, _ = pid
        return Storage(kind, f"data/{key}")


class Checkpoint:
    """An open checkpoint. tensors() reads one of its state dicts."""

    def __init__(self, path: str):
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
            pickles = [n for n in self.zip.namelist() if re.fullmatch(r"[^/]+/data\.pkl", n)]
            if len(pickles) != 1:
                raise ValueError("holds no data.pkl")
            self.prefix = pickles[0][:-len("data.pkl")]
            self.content = Reader(io.BytesIO(self.member("data.pkl"))).load()
        except OSError:
            raise
        except Exception as e:  # a damaged pickle raises anything
            raise Refused(f"{path}: no checkpoint of torch.save since PyTorch 1.6 "
                          f"({type(e).__name__}: {e})") from None
        if not isinstance(self.content, dict):
            raise Refused(f"{path}: holds no dictionary; expected the reference's checkpoint with "
                          "'model' and 'criterion'")

    def tensors(self, part: str) -> dict[str, np.ndarray]:
        """The state dict `part`, float32 and finite, without the counters of the BatchNorms."""
        state = self.content.get(part)
        if not isinstance(state, dict) or not state:
            keys = ", ".join(map(str, self.content)) or "nothing"
            raise Refused(f"{self.path}: has no state dict '{part}'; it holds {keys}")
        out = {}
        for name, tensor in state.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise Refused(f"{self.path}: {part}: '{name}' is no tensor")
            if not name.endswith(".num_batches_tracked"):
                # What torch.nn.DataParallel puts before every name.
                out[name[7:] if name.startswith("module.") else name] = self.read(name, tensor)
        return out

    def read(self, name: str, tensor: Tensor) -> np.ndarray:
        where = f"{self.path}: tensor '{name}'"
        try:
            flat = self.read_storage(tensor.storage)
            count, last = 1, tensor.offset
            for n, s in zip(tensor.shape, tensor.strides):
                count, last = count * n, last + (n - 1) * s
            # In a state dict no two elements share a place: so the file's size bounds our memory.
            if (not 1 <= count <= flat.size or tensor.offset < 0 or last >= flat.size
                    or min(tensor.shape + tensor.strides, default=0) < 0
                    or len(tensor.shape) != len(tensor.strides)):
                raise ValueError(f"its shape {tensor.shape} does not fit its {flat.size} numbers")
            steps = [s * flat.itemsize for s in tensor.strides]
            view = np.lib.stride_tricks.as_strided(flat[tensor.offset:], tensor.shape, steps)
            array = np.array(view, np.float32, order="C")
        except OSError:
            raise
        except Exception as e:
            raise Refused(f"{where} cannot be read ({type(e).__name__}: {e})") from None
        if not np.isfinite(array).all():
            raise Refused(f"{where} holds a NaN or an infinity: that training went wrong")
        return array

    def member(self, name: str) -> bytes:
        info = self.zip.getinfo(self.prefix + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed, which torch.save does not do")
        return self.zip.read(info)

    def read_storage(self, storage: Storage) -> np.ndarray:
        flat = np.frombuffer(self.member(storage.name), DTYPES[storage.kind])
        if storage.kind == "BFloat16Storage":  # the upper half of a float32
            flat = (flat.astype("<u4") << 16).view("<f4")
        return flat


# --- the matcher in it ---------------------------------------------------------------------------


class Matcher(NamedTuple):
    """A trained matcher: its sizes, and its weights under the names that vitrine looks for."""
    kind: str  # "transmatcher" or "qaconv"
    tokens: int
    channels: int  # of a layer's part of a map
    layers: int
    ff: int  # 0 for QAConv
    tensors: dict[str, np.ndarray]


def norm_shapes(prefix: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{k}": (size,) for k in ("weight", "bias", "running_mean", "running_var")}


def transmatcher_shapes(tokens: int, d: int, layers: int, ff: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        p = f"decoder.layers.{i}"
        shapes.update({f"{p}.score_embed": (1, 1, tokens, tokens),
                       f"{p}.fc1.weight": (d, d), f"{p}.fc1.bias": (d,),
                       f"{p}.fc2.weight": (ff, tokens), f"{p}.fc2.bias": (ff,),
                       f"{p}.fc3.weight": (1, ff), f"{p}.fc3.bias": (1,)})
        for bn, size in (("bn1", 1), ("bn2", ff), ("bn3", 1)):
            shapes.update(norm_shapes(f"{p}.{bn}", size))
    return {**shapes, **norm_shapes("decoder.norm", 1)}


def read_matcher(checkpoint: Checkpoint, channels: int | None = None) -> Matcher:
    """The matcher of `criterion`. `channels` is for a QAConv without a neck: it does not say."""
    path = checkpoint.path
    tensors = {k[len("matcher."):]: v for k, v in checkpoint.tensors("criterion").items()
               if k.startswith("matcher.") and not k.startswith("matcher.decoder_layer.")}

    def size(name: str, axis: int) -> int:
        if name not in tensors or tensors[name].ndim <= axis:
            raise Refused(f"{path}: no 'matcher.{name}' in 'criterion' that could be a "
                          "TransMatcher's or QAConv's")
        return tensors[name].shape[axis]

    if "fc.weight" in tensors:
        kind, layers, ff, tokens = "qaconv", 1, 0, size("fc.weight", 1)
        shapes = {"fc.weight": (1, tokens), "fc.bias": (1,), **norm_shapes("bn", 1),
                  **norm_shapes("logit_bn", 1)}
        if channels is None:
            neck = checkpoint.tensors("model").get("neck_conv.weight")
            if neck is None:
                raise Refused(f"{path}: a QAConv without a neck_conv: say --channels")
            channels = neck.shape[0]
    else:
        kind, p = "transmatcher", "decoder.layers.0."
        layers = len({k.split(".")[2] for k in tensors if k.startswith("decoder.layers.")})
        tokens, channels = size(p + "score_embed", 3), size(p + "fc1.weight", 0)
        ff = size(p + "fc2.weight", 0)
        shapes = transmatcher_shapes(tokens, channels, layers, ff)
    check(path, "matcher.", tensors, shapes)
    return Matcher(kind, tokens, channels, layers, ff, tensors)


def check(path: str, prefix: str, tensors: dict[str, np.ndarray],
          shapes: dict[str, tuple[int, ...]]) -> None:
    """Exactly these tensors, of these shapes, and no negative variance among them."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise Refused(f"{path}: tensor '{prefix}{name}' of shape {list(shape)} is missing")
        if tensors[name].shape != shape:
            raise Refused(f"{path}: tensor '{prefix}{name}' has shape "
                          f"{list(tensors[name].shape)}; the others ask {list(shape)}")
        if name.endswith(".running_var") and tensors[name].min() < 0:
            raise Refused(f"{path}: tensor '{prefix}{name}' holds a negative variance")
    for name in tensors:
        if name not in shapes:
            raise Refused(f"{path}: tensor '{prefix}{name}' is none of the reference's: another "
                          "kind of model, which would not score the same without it")


def split_tokens(tokens: int, height: int | None, width: int | None) -> tuple[int, int]:
    """Height and width of a map of `tokens`; the checkpoint knows their product alone."""
    if height and width and height * width != tokens:
        raise Refused(f"--height {height} --width {width}: {height * width} tokens, but the "
                      f"matcher was trained on {tokens}")
    side = height or width
    if side and tokens % side:
        raise Refused(f"{side} does not divide the {tokens} tokens that the matcher was trained on")
    if side:
        return height or tokens // side, width or tokens // side
    if tokens != 24 * 8:  # the reference's 384 x 128 pixels
        raise Refused(f"the matcher was trained on maps of {tokens} tokens; say --height and "
                      f"--width, whose product is {tokens} (pixels / 16 at layer3)")
    return 24, 8
