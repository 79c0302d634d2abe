"""What the tests of the exporters share: where things are, how a script is run, checkpoints made up
in the reference's layout, and the encoder written down once more, from its formulas."""
from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("VITRINE_SHARED") or os.path.join(ROOT, "..", "shared")
MODEL = os.path.join(SHARED, "data", "model")
GROCERY = os.path.join(SHARED, "data", "grocery")
SCRIPTS = os.path.join(ROOT, "ops", "python")
BIN = os.environ.get("VITRINE_BIN") or os.path.join(ROOT, "build", "release", "bin")
NO_SHARED = f"{MODEL} is not there; VITRINE_SHARED names the folder of reference data"
HAS_SHARED = os.path.isdir(MODEL)

sys.path.insert(0, SCRIPTS)
import formats  # noqa: E402  (from ops/python)


def command_of(script: str, *args: object) -> list[str]:
    return [sys.executable, os.path.join(SCRIPTS, script + ".py"), *map(str, args)]


def run(script: str, *args: object) -> subprocess.CompletedProcess:
    return subprocess.run(command_of(script, *args), capture_output=True, text=True, timeout=300)


def vitrine(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run([os.path.join(BIN, "vitrine"), *map(str, args)], capture_output=True,
                          text=True, timeout=300)


def must(done: subprocess.CompletedProcess) -> str:
    """The output of a command that has to go well."""
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}: {done.args}\n{done.stdout}{done.stderr}")
    return done.stdout


# --- checkpoints ---------------------------------------------------------------------------------


class Sizes:
    """Of a made-up network; the reference's layout, but as few channels as will do."""

    def __init__(self, **given: object):
        self.bottleneck, self.ibn, self.blocks = False, "", (1, 1, 1)
        self.stem, self.planes, self.neck, self.layers, self.ff = 4, (4, 4, 8), 8, 2, 16
        self.tokens, self.matcher = 8, "transmatcher"  # 4 x 2, of images of 64 x 32
        for name, value in given.items():
            if not hasattr(self, name):
                raise TypeError(name)
            setattr(self, name, value)


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Weights with which values neither vanish nor blow up on their way through the network."""
    g = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or len(shape) == 1 and name.endswith("weight"):
            state[name] = torch.rand(shape, generator=g) + 0.5
        elif len(shape) == 1:
            state[name] = torch.randn(shape, generator=g) * 0.1
        else:
            fan = int(np.prod(shape[1:]))
            state[name] = torch.randn(shape, generator=g) * (1.5 / fan) ** 0.5
    return state


def batch_norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{name}.{k}": (size,) for k in
                                          ("weight", "bias", "running_mean", "running_var")}
    return {**shapes, f"{name}.num_batches_tracked": ()}


def instance_norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def block_shapes(s: Sizes, p: str, inputs: int, planes: int, layer: int,
                 last: bool) -> dict[str, tuple[int, ...]]:
    outputs = planes * 4 if s.bottleneck else planes
    kernels, shapes = ([1, 3, 1] if s.bottleneck else [3, 3]), {}
    for i, k in enumerate(kernels, 1):
        out = outputs if i == len(kernels) else planes
        shapes[f"{p}.conv{i}.weight"] = (out, inputs if i == 1 else planes, k, k)
        if s.ibn == "a" and i == 1 and layer <= 3:
            shapes.update({**instance_norm(f"{p}.bn1.IN", out // 2),
                           **batch_norm(f"{p}.bn1.BN", out - out // 2)})
        else:
            shapes.update(batch_norm(f"{p}.bn{i}", out))
    if s.ibn == "b" and layer <= 2 and last:
        shapes.update(instance_norm(f"{p}.IN", outputs))
    if p.endswith(".0") and (layer > 1 or inputs != outputs):
        shapes[f"{p}.downsample.0.weight"] = (outputs, inputs, 1, 1)
        shapes.update(batch_norm(f"{p}.downsample.1", outputs))
    return shapes


def model_shapes(s: Sizes) -> dict[str, tuple[int, ...]]:
    shapes = {"base.conv1.weight": (s.stem, 3, 7, 7),
              **(instance_norm if s.ibn == "b" else batch_norm)("base.bn1", s.stem)}
    inputs = s.stem
    for layer, (count, planes) in enumerate(zip(s.blocks, s.planes), 1):
        for i in range(count):
            shapes.update(block_shapes(s, f"base.layer{layer}.{i}", inputs, planes, layer,
                                       i == count - 1))
            inputs = planes * 4 if s.bottleneck else planes
    # What the reference's checkpoint has and nobody runs.
    shapes.update({"base.layer4.0.conv1.weight": (3, inputs, 3, 3), "base.fc.weight": (2, 3)})
    shapes.update({"neck_conv.weight": (s.neck, inputs, 3, 3), "neck_conv.bias": (s.neck,)})
    d = s.neck
    for i in range(s.layers - 1):
        p = f"encoder.layers.{i}"
        shapes.update({f"{p}.self_attn.in_proj_weight": (3 * d, d),
                       f"{p}.self_attn.in_proj_bias": (3 * d,),
                       f"{p}.self_attn.out_proj.weight": (d, d),
                       f"{p}.self_attn.out_proj.bias": (d,),
                       f"{p}.linear1.weight": (s.ff, d), f"{p}.linear1.bias": (s.ff,),
                       f"{p}.linear2.weight": (d, s.ff), f"{p}.linear2.bias": (d,),
                       **instance_norm(f"{p}.norm1", d), **instance_norm(f"{p}.norm2", d)})
    return shapes


def criterion_shapes(s: Sizes) -> dict[str, tuple[int, ...]]:
    if s.matcher == "qaconv":
        return {**batch_norm("matcher.bn", 1), "matcher.fc.weight": (1, s.tokens),
                "matcher.fc.bias": (1,), **batch_norm("matcher.logit_bn", 1)}
    shapes: dict[str, tuple[int, ...]] = {}
    layers = [f"matcher.decoder.layers.{i}" for i in range(s.layers)]
    for p in ["matcher.decoder_layer", *layers]:
        shapes.update({f"{p}.score_embed": (1, 1, s.tokens, s.tokens),
                       f"{p}.fc1.weight": (s.neck, s.neck), f"{p}.fc1.bias": (s.neck,),
                       **batch_norm(f"{p}.bn1", 1), f"{p}.fc2.weight": (s.ff, s.tokens),
                       f"{p}.fc2.bias": (s.ff,), **batch_norm(f"{p}.bn2", s.ff),
                       f"{p}.fc3.weight": (1, s.ff), f"{p}.fc3.bias": (1,),
                       **batch_norm(f"{p}.bn3", 1)})
    return {**shapes, **batch_norm("matcher.decoder.norm", 1)}


def make_checkpoint(s: Sizes) -> dict:
    """As the reference saves it, the optimizer's momentum and learning rates included."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 0.0005}], lr=0.005, momentum=0.9,
                                weight_decay=5e-4, nesterov=True)
    weight.sum().backward()
    optimizer.step()
    return {"model": random_state(model_shapes(s), 1),
            "criterion": random_state(criterion_shapes(s), 2),
            "optim": optimizer.state_dict(), "epoch": 15}


# --- the encoder's formulas ----------------------------------------------------------------------


class Formulas:
    """The maps of an encoder, from a state dict or from what encoder.safetensors holds of it."""

    def __init__(self, state: dict, base: str, heads: int = 1, unit_tokens: bool = False):
        self.w = {k: torch.as_tensor(np.asarray(v)) for k, v in state.items()}
        self.base, self.heads, self.unit_tokens = base, heads, unit_tokens

    def conv(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        w = self.w[f"{name}.weight"]
        return F.conv2d(x, w, self.w.get(f"{name}.bias"), stride, w.shape[-1] // 2)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """BatchNorm, InstanceNorm or IBN-a, by what there is of it; nothing where it was folded."""
        w = self.w
        if f"{name}.IN.weight" in w:
            half = len(w[f"{name}.IN.weight"])
            return torch.cat((self.norm(f"{name}.IN", x[:, :half]),
                              self.norm(f"{name}.BN", x[:, half:])), dim=1)
        if f"{name}.weight" not in w:
            return x
        if f"{name}.running_mean" in w:
            mean, var = (w[f"{name}.{k}"].view(-1, 1, 1) for k in ("running_mean", "running_var"))
        else:
            var, mean = torch.var_mean(x, dim=(2, 3), unbiased=False, keepdim=True)
        scale, shift = (w[f"{name}.{k}"].view(-1, 1, 1) for k in ("weight", "bias"))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def block(self, p: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        y, kernels = x, 3 if f"{p}.conv3.weight" in self.w else 2
        for i in range(1, kernels + 1):
            own = stride if i == kernels - 1 else 1
            y = self.norm(f"{p}.bn{i}", self.conv(f"{p}.conv{i}", y, own))
            y = y.relu() if i < kernels else y
        if f"{p}.downsample.0.weight" in self.w:
            x = self.norm(f"{p}.downsample.1", self.conv(f"{p}.downsample.0", x, stride))
        return self.norm(f"{p}.IN", x + y).relu()

    def attention(self, p: str, x: torch.Tensor) -> torch.Tensor:
        qkv = F.linear(x, self.w[f"{p}.in_proj_weight"], self.w[f"{p}.in_proj_bias"])
        n, t, d = x.shape
        q, k, v = (a.view(n, t, self.heads, -1).transpose(1, 2) for a in qkv.chunk(3, dim=-1))
        s = (q @ k.transpose(2, 3) / (d // self.heads) ** 0.5).softmax(dim=-1)
        y = (s @ v).transpose(1, 2).reshape(n, t, d)
        return F.linear(y, self.w[f"{p}.out_proj.weight"], self.w[f"{p}.out_proj.bias"])

    def layer(self, p: str, x: torch.Tensor) -> torch.Tensor:
        def linear(name: str, y: torch.Tensor) -> torch.Tensor:
            return F.linear(y, self.w[f"{p}.{name}.weight"], self.w[f"{p}.{name}.bias"])

        def layer_norm(name: str, y: torch.Tensor) -> torch.Tensor:
            var, mean = torch.var_mean(y, dim=-1, unbiased=False, keepdim=True)
            return ((y - mean) / torch.sqrt(var + 1e-5) * self.w[f"{p}.{name}.weight"]
                    + self.w[f"{p}.{name}.bias"])

        x = layer_norm("norm1", x + self.attention(f"{p}.self_attn", x))
        return layer_norm("norm2", x + linear("linear2", linear("linear1", x).relu()))

    def __call__(self, pixels: torch.Tensor) -> np.ndarray:
        b = self.base
        x = self.norm(f"{b}.bn1", self.conv(f"{b}.conv1", pixels, 2)).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        last = self.w["neck_conv.weight"].shape[1]
        for layer in range(1, 5):
            blocks = {k.split(".")[2] for k in self.w if k.startswith(f"{b}.layer{layer}.")}
            for i in range(len(blocks)):
                x = self.block(f"{b}.layer{layer}.{i}", x, 2 if layer > 1 and i == 0 else 1)
            if x.shape[1] == last and f"{b}.layer{layer + 1}.0.conv2.weight" not in self.w:
                break
        x = self.conv("neck_conv", x)
        x = x / x.norm(dim=1, keepdim=True) if self.unit_tokens else x
        n, d, h, w = x.shape
        parts = [x.view(n, d, h * w).transpose(1, 2)]
        while f"encoder.layers.{len(parts) - 1}.linear1.weight" in self.w:
            parts.append(self.layer(f"encoder.layers.{len(parts) - 1}", parts[-1]))
        return torch.cat(parts, dim=-1).view(n, h, w, -1).numpy()


# --- images --------------------------------------------------------------------------------------


def make_images(folder: str, names: list[str], seed: int = 3) -> None:
    """Soft patches of colour, each image of another size; PNG or JPEG by the name."""
    random = np.random.default_rng(seed)
    for name in names:
        patches = random.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        size = tuple(int(n) for n in random.integers(40, 240, 2))
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(patches).resize(size, Image.BILINEAR).save(path)


def write_csv(path: str, names: list[str]) -> None:
    with open(path, "w", encoding="utf-8") as f:
        f.write("name,pid,camid,timestamp\n")
        f.writelines(f"{name},{i % 5},{i % 3},{i * 10}\n" for i, name in enumerate(names))


def pixels_of(folder: str, names: list[str], height: int, width: int, mean=(0, 0, 0),
              std=(1, 1, 1)) -> torch.Tensor:
    images = []
    for name in names:
        image = Image.open(os.path.join(folder, name)).convert("RGB")
        images.append(np.asarray(image.resize((width, height), Image.BICUBIC), np.float32) / 255)
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def one_line(text: str) -> bool:
    return bool(re.fullmatch(r"[^\n]+\n", text))
