#!/usr/bin/env python3
"""Turns a training checkpoint of TransMatcher or QAConv into the weights that vitrine reads."""
from __future__ import annotations

import argparse
import sys

import command

EXAMPLES = """\
examples:
  export_checkpoint.py checkpoint.pth.tar --out model.safetensors
  export_checkpoint.py checkpoint.pth.tar --out model.safetensors --height 16 --width 16
  export_checkpoint.py checkpoint.pth.tar --out model.safetensors --encoder encoder.safetensors

Written are the tensors of 'criterion' that score a pair, under the reference's names; the unused
copy matcher.decoder_layer.* and the counters of the BatchNorms are dropped. All sizes are read off
the tensors, but for the map's height and width, of which they know the product alone: without
--height and --width it is the reference's 24 x 8 (images of 384 x 128 pixels), if that fits.

--encoder also writes the backbone, neck and Transformer layers of 'model', with every BatchNorm
folded into its convolution; --mean, --std and --heads are for it and stand in its metadata, where
export_features.py finds them. It needs PyTorch; the rest needs NumPy alone.

Nothing in the checkpoint is executed, so it need not be trusted. Then:
  vitrine import --model model.safetensors --features gallery.npy --meta gallery.csv --out gallery

exit codes: 0 written, 1 the checkpoint or a size cannot be used, 2 a flag is wrong"""


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="export_checkpoint.py", description=__doc__, epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="the reference's checkpoint.pth.tar")
    p.add_argument("--out", required=True, metavar="FILE",
                   help="the matcher, .safetensors; an older one is replaced")
    p.add_argument("--encoder", metavar="FILE", help="the encoder, .safetensors, as well")
    p.add_argument("--height", type=command.positive, metavar="H",
                   help="of the feature map, in tokens")
    p.add_argument("--width", type=command.positive, metavar="W",
                   help="of the feature map, in tokens")
    command.add_training(p)
    return p.parse_args()


def numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{v:g}" for v in values)


def export_encoder(args: argparse.Namespace, source, matcher, height: int, width: int) -> str:
    import encoder
    from formats import write_safetensors
    heads = args.heads or 1
    net = encoder.build(source, matcher, heads)
    rows, columns = height * net.plan.stride, width * net.plan.stride
    write_safetensors(args.encoder, {
        "kind": f"{matcher.kind}-encoder", "arch": net.plan.name, "nhead": heads,
        "input": f"RGB, whole image resized to {columns}x{rows} (PIL BICUBIC, no aspect keeping), "
                 "/255, minus mean, over std",
        "mean": numbers(args.mean or (0, 0, 0)), "std": numbers(args.std or (1, 1, 1)),
        "input_height": rows, "input_width": columns, "height": height, "width": width,
        "channels": matcher.channels * matcher.layers,
        "layernorm_eps": "1e-05", "instancenorm_eps": "1e-05",
    }, encoder.folded(net))
    return f"{args.encoder}: {net.plan.name}, for images of {rows} x {columns} pixels"


def export(args: argparse.Namespace) -> None:
    import checkpoint
    from formats import write_safetensors
    source = checkpoint.Checkpoint(args.checkpoint)
    m = checkpoint.read_matcher(source, args.channels)
    height, width = checkpoint.split_tokens(m.tokens, args.height, args.width)
    metadata = {"matcher": m.kind, "height": height, "width": width}
    if m.kind == "qaconv":
        metadata["num_features"] = m.channels
    else:
        metadata.update(d_model=m.channels, num_layers=m.layers, dim_feedforward=m.ff)
    # The encoder first: when it cannot be written, nothing is.
    lines = [export_encoder(args, source, m, height, width)] if args.encoder else []
    write_safetensors(args.out, {**metadata, "bn_eps": "1e-05"}, m.tensors)
    print(f"{args.out}: {m.kind}, {height} x {width} tokens, {m.layers} x {m.channels} channels"
          + (f", ff {m.ff}" if m.ff else ""), *lines, sep="\n")


if __name__ == "__main__":
    sys.exit(command.run(export, parse(), "export_checkpoint"))
