"""The reference's encoder: a ResNet cut after one of its layers, a 3x3 neck, Transformer layers.

    x = neck_conv(base(pixels))                             [n, d, h, w]
    y_1, y_2, ... = one Transformer layer after the other   over the h * w tokens of x
    map = x, y_1, y_2, ... side by side                     [n, h, w, layers * d]

QAConv has no Transformer layers, and makes each token one unit long. Modules carry the reference's
names, so that its state dict fits; all sizes are read off that state dict.
"""
from __future__ import annotations

import re
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from checkpoint import Checkpoint, Matcher, check
from command import Refused

DEPTHS = {(False, (2, 2, 2, 2)): 18, (False, (3, 4, 6, 3)): 34, (True, (3, 4, 6, 3)): 50,
          (True, (3, 4, 23, 3)): 101, (True, (3, 8, 36, 3)): 152}


class Plan(NamedTuple):
    """What a state dict says about the network it belongs to."""
    bottleneck: bool
    ibn: str  # IBN-Net's kind "a" or "b", or ""
    stem: int  # channels after conv1
    blocks: tuple[int, ...]  # of layer1 and on, up to the one where the backbone is cut
    planes: tuple[int, ...]
    neck: int  # channels, or 0 without one
    ff: tuple[int, ...]  # one for each Transformer layer

    @property
    def stride(self) -> int:
        return 2 ** (len(self.blocks) + 1)

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(p * (4 if self.bottleneck else 1) for p in self.planes)

    @property
    def name(self) -> str:
        depth = next((d for (bottleneck, blocks), d in DEPTHS.items()
                      if bottleneck == self.bottleneck
                      and blocks[:len(self.blocks)] == self.blocks), None)
        return (f"resnet{depth or '-'.join(map(str, self.blocks))}"
                + (f"-ibn-{self.ibn}" if self.ibn else "") + f" to layer{len(self.blocks)}")


class IBN(nn.Module):
    """IBN-a: an InstanceNorm on the first half of the channels, a BatchNorm on the others."""

    def __init__(self, channels: int):
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.IN.num_features
        return torch.cat((self.IN(x[:, :half].contiguous()), self.BN(x[:, half:].contiguous())), 1)


class Block(nn.Module):
    """A residual block: 3x3, 3x3, or the bottleneck 1x1, 3x3, 1x1; the first 3x3 has the stride."""

    def __init__(self, inputs: int, planes: int, stride: int, plan: Plan, ibn: str):
        super().__init__()
        outputs = planes * 4 if plan.bottleneck else planes
        kernels = (1, 3, 1) if plan.bottleneck else (3, 3)
        channels = [inputs] + [planes] * (len(kernels) - 1) + [outputs]
        self.count = len(kernels)
        for i, kernel in enumerate(kernels):
            step = stride if i == kernels.index(3) else 1
            conv = nn.Conv2d(channels[i], channels[i + 1], kernel, step, kernel // 2, bias=False)
            norm = IBN if ibn == "a" and i == 0 else nn.BatchNorm2d
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", norm(channels[i + 1]))
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if ibn == "b" else None
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        y = y + (self.downsample(x) if self.downsample else x)
        return torch.relu(self.IN(y) if self.IN else y)


def layer_of(plan: Plan, index: int) -> nn.Sequential:
    """IBN-b normalises the end of layer1 and layer2, IBN-a the inside of layer1 to layer3."""
    inputs, count = plan.outputs[index - 1] if index else plan.stem, plan.blocks[index]
    blocks = []
    for i in range(count):
        last = i == count - 1
        ibn = plan.ibn if (plan.ibn == "a" and index < 3
                           or plan.ibn == "b" and index < 2 and last) else ""
        blocks.append(Block(inputs, plan.planes[index], 2 if index and not i else 1, plan, ibn))
        inputs = plan.outputs[index]
    return nn.Sequential(*blocks)


class Encoder(nn.Module):
    def __init__(self, plan: Plan, heads: int, unit_tokens: bool):
        super().__init__()
        self.plan, self.unit_tokens = plan, unit_tokens
        stem_norm = nn.InstanceNorm2d(plan.stem, affine=True) if plan.ibn == "b" \
            else nn.BatchNorm2d(plan.stem)
        self.base = nn.Sequential(OrderedDict(
            conv1=nn.Conv2d(3, plan.stem, 7, 2, 3, bias=False), bn1=stem_norm, relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, 2, 1)))
        for index in range(len(plan.blocks)):
            self.base.add_module(f"layer{index + 1}", layer_of(plan, index))
        self.channels = plan.neck or plan.outputs[-1]
        self.neck_conv = nn.Conv2d(plan.outputs[-1], plan.neck, 3, padding=1) if plan.neck else None
        # Tokens first, as the reference has them: PyTorch then computes in the same order.
        layers = [nn.TransformerEncoderLayer(self.channels, heads, ff, 0.0) for ff in plan.ff]
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.base(pixels)
        x = self.neck_conv(x) if self.neck_conv else x
        if self.unit_tokens:
            x = nn.functional.normalize(x)
        n, _, h, w = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)  # [h * w, n, d]
        parts = [tokens]
        for layer in self.encoder["layers"]:
            parts.append(layer(parts[-1]))
        return torch.cat(parts, dim=-1).permute(1, 0, 2).reshape(n, h, w, -1)

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Of the map of an image; every halving rounds up."""
        return -(-height // self.plan.stride), -(-width // self.plan.stride)


# --- from a checkpoint -------------------------------------------------------------------------


def plan_of(path: str, state: dict[str, np.ndarray], channels: int) -> Plan:
    """`channels` of the matcher, which tells where a backbone without a neck was cut."""
    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise Refused(f"{path}: 'model' has no tensor '{name}': no ResNet of the reference's")
        return state[name].shape

    bottleneck = "base.layer1.0.conv3.weight" in state
    last = "conv3" if bottleneck else "conv2"
    ibn = {m.group(1) is not None for m in map(re.compile(
        r"base\.layer\d\.\d+\.(bn1\.)?IN\.weight").fullmatch, state) if m}
    neck = shape("neck_conv.weight")[0] if "neck_conv.weight" in state else 0
    wanted = shape("neck_conv.weight")[1] if neck else channels
    blocks, planes = [], []
    for layer in range(1, 5):
        p = f"base.layer{layer}"
        blocks.append(len({k.split(".")[2] for k in state if k.startswith(p + ".")}))
        planes.append(shape(f"{p}.0.conv1.weight")[0])
        if shape(f"{p}.0.{last}.weight")[0] == wanted:
            break
    else:
        raise Refused(f"{path}: no layer of the backbone has the {wanted} channels that follow it")
    layers = len({k.split(".")[2] for k in state if k.startswith("encoder.layers.")})
    ff = [shape(f"encoder.layers.{i}.linear1.weight")[0] for i in range(layers)]
    kind = "" if not ibn else "a" if ibn == {True} else "b"
    return Plan(bottleneck, kind, shape("base.conv1.weight")[0], tuple(blocks), tuple(planes),
                neck, tuple(ff))


def build(checkpoint: Checkpoint, matcher: Matcher, heads: int) -> Encoder:
    """The encoder that was trained with `matcher`, its weights in place, ready to run."""
    path, state = checkpoint.path, checkpoint.tensors("model")
    plan = plan_of(path, state, matcher.channels)
    unused = tuple(f"base.layer{i}." for i in range(len(plan.blocks) + 1, 5)) + ("base.fc.",)
    state = {k: v for k, v in state.items() if not k.startswith(unused)}
    channels = plan.neck or plan.outputs[-1]
    if channels % heads:
        raise Refused(f"--heads {heads} does not divide the {channels} channels of a token")
    if (channels, len(plan.ff) + 1) != (matcher.channels, matcher.layers):
        raise Refused(f"{path}: the encoder makes {len(plan.ff) + 1} parts of {channels} channels, "
                      f"the matcher takes {matcher.layers} of {matcher.channels}")
    with torch.no_grad():
        encoder = Encoder(plan, heads, matcher.kind == "qaconv")
        own = {k: v for k, v in encoder.state_dict().items()
               if not k.endswith(".num_batches_tracked")}
        check(path, "", state, {k: tuple(v.shape) for k, v in own.items()})
        for name, tensor in own.items():
            tensor.copy_(torch.from_numpy(state[name]))
    return encoder.eval().requires_grad_(False)


# --- to encoder.safetensors ----------------------------------------------------------------------


def folded(encoder: Encoder) -> dict[str, np.ndarray]:
    """The weights with each BatchNorm folded into the convolution before it, `base` as `backbone`.

    Every convolution then has a bias. InstanceNorms, which no convolution can hold, stay.
    """
    out: dict[str, np.ndarray] = {}

    def fold(prefix: str, conv: nn.Conv2d, norm_name: str, norm: nn.Module) -> None:
        bn, instance = norm, None
        if isinstance(norm, IBN):
            bn, instance, norm_name = norm.BN, norm.IN, norm_name + ".IN"
        elif isinstance(norm, nn.InstanceNorm2d):
            bn, instance = None, norm
        weight = conv.weight.double().numpy().copy()
        bias = np.zeros(len(weight))
        if bn is not None:
            rows = slice(len(weight) - bn.num_features, None)
            value = {k: v.double().numpy() for k, v in bn.state_dict().items()}
            scale = value["weight"] / np.sqrt(value["running_var"] + bn.eps)
            weight[rows] *= scale[:, None, None, None]
            bias[rows] = value["bias"] - value["running_mean"] * scale
        out[f"{prefix}.weight"], out[f"{prefix}.bias"] = weight, bias
        if instance is not None:
            keep(norm_name, instance)

    def keep(prefix: str, module: nn.Module) -> None:
        out.update({f"{prefix}.{k}": v.numpy() for k, v in module.state_dict().items()})

    fold("backbone.conv1", encoder.base.conv1, "backbone.bn1", encoder.base.bn1)
    for index in range(1, len(encoder.plan.blocks) + 1):
        for number, block in enumerate(getattr(encoder.base, f"layer{index}")):
            p = f"backbone.layer{index}.{number}"
            for i in range(1, block.count + 1):
                fold(f"{p}.conv{i}", getattr(block, f"conv{i}"), f"{p}.bn{i}",
                     getattr(block, f"bn{i}"))
            if block.downsample:
                fold(f"{p}.downsample.0", block.downsample[0], "", block.downsample[1])
            if block.IN:
                keep(f"{p}.IN", block.IN)
    if encoder.neck_conv:
        keep("neck_conv", encoder.neck_conv)
    keep("encoder", encoder.encoder)
    return {name: value.astype(np.float32) for name, value in out.items()}
