#!/usr/bin/python3
"""Scores the same pairs with PyTorch and with vitrine, in turns, and says how many times faster.

Both run one thread on one processor, at the size of TransMatcher's paper: 192 tokens of 512
channels, 3 layers, ff 2048. The torch side scores 8 queries against 32 gallery images a call, as the
authors' transmatcher.py does: with its code if --reference names its folder, else with the same
operations written here. Before anything is timed, both must give the scores of a golden case.

Time is processor time, which other jobs on the machine do not count in. A vitrine sample is one
`vitrine score` of many queries less one of few: both read and pack as many maps in all, so what is
left is the scoring of pairs. The authors' code projects the maps again (fc1) in each call, and that
is in its time; a column of its own has torch with projected maps, as vitrine has them.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GOLDEN = [os.path.join(ROOT, "../shared/data/golden/paper"),
          os.path.join(ROOT, "tests/golden/data/tm_12x4_d64")]
PRECISIONS = ["f32", "bf16", "int8"]
PAPER = {"height": 24, "width": 8, "d_model": 512, "num_layers": 3, "dim_feedforward": 2048}
TORCH_QUERIES, TORCH_IMAGES = 8, 32
MANY, FEW = (32, 128), (2, 158)  # queries, gallery images of vitrine's two runs: 160 maps in both
TOLERANCE = 1e-4


def stop(text, code=1):
    print(f"compare_torch: {text}", file=sys.stderr)
    sys.exit(code)


def import_or_stop(name, package):
    try:
        return __import__(name)
    except ImportError as e:
        stop(f"{sys.executable} has no {name} ({e}); apt-get install --no-install-recommends "
             f"{package}, and run this with /usr/bin/python3", 69)


# One thread must be said before the BLAS is loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
np = import_or_stop("numpy", "python3-numpy")
torch = import_or_stop("torch", "python3-torch")
sys.path.insert(0, os.path.join(ROOT, "ops", "python"))
import formats
sys.path.pop(0)


# --- models ------------------------------------------------------------------------------------


def read_model(path):
    try:
        meta, tensors = formats.read_safetensors(path)
    except formats.Refused as e:
        stop(str(e), 65)
    return meta, {name: torch.from_numpy(t) for name, t in tensors.items()}


def random_model():
    """Weights of the paper's size; their values do not change what a pair costs."""
    torch.manual_seed(1)
    tokens, d, ff = PAPER["height"] * PAPER["width"], PAPER["d_model"], PAPER["dim_feedforward"]
    tensors = {}

    def norm(name, n, mean, var):
        tensors[f"{name}.weight"] = torch.rand(n) + 0.5
        tensors[f"{name}.bias"] = torch.randn(n) * 0.1
        tensors[f"{name}.running_mean"] = torch.full((n,), mean)
        tensors[f"{name}.running_var"] = torch.full((n,), var)

    def linear(name, out, inputs):
        tensors[f"{name}.weight"] = torch.randn(out, inputs) / inputs ** 0.5
        tensors[f"{name}.bias"] = torch.randn(out) * 0.1

    for layer in range(PAPER["num_layers"]):
        p = f"decoder.layers.{layer}"
        tensors[f"{p}.score_embed"] = torch.randn(1, 1, tokens, tokens)
        linear(f"{p}.fc1", d, d)
        norm(f"{p}.bn1", 1, 50.0, 100.0)
        linear(f"{p}.fc2", ff, tokens)
        norm(f"{p}.bn2", ff, 0.0, 1.0)
        linear(f"{p}.fc3", 1, ff)
        norm(f"{p}.bn3", 1, 0.0, 1.0)
    norm("decoder.norm", 1, 0.0, 1.0)
    return {"matcher": "transmatcher", **PAPER, "bn_eps": 1e-5}, tensors


# --- torch's side ------------------------------------------------------------------------------


class Decoder:
    """The released decoder at test time, operation by operation, from its formulas."""

    def __init__(self, meta, tensors):
        self.layers, self.eps = int(meta["num_layers"]), float(meta.get("bn_eps", 1e-5))
        self.w = tensors

    def norm(self, name, x):
        w = self.w
        return torch.nn.functional.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"],
            w[f"{name}.bias"], training=False, eps=self.eps)

    def linear(self, name, x):
        return torch.nn.functional.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def project(self, maps):
        """Maps [n, h, w, layers * d] to one [n, tokens, d] a layer."""
        chunks = maps.chunk(self.layers, dim=-1)
        return [self.linear(f"decoder.layers.{i}.fc1", c.reshape(len(c), -1, c.shape[-1]))
                for i, c in enumerate(chunks)]

    def layer(self, i, query, key):
        p, tokens = f"decoder.layers.{i}", query.shape[1]
        embed = self.w[f"{p}.score_embed"]
        s = torch.einsum("qtd,ksd->qkst", query, key) * embed.sigmoid()
        s = s.reshape(-1, tokens, tokens)
        s = torch.cat((s.max(dim=1)[0], s.max(dim=2)[0]), dim=-1).view(-1, 1, tokens)
        s = self.linear(f"{p}.fc2", self.norm(f"{p}.bn1", s).view(-1, tokens))
        s = self.linear(f"{p}.fc3", self.norm(f"{p}.bn2", s).relu())
        s = self.norm(f"{p}.bn3", s.view(-1, 2).sum(dim=-1, keepdim=True))
        return s.view(len(query), len(key))

    def score_projected(self, queries, keys):
        s = sum(self.layer(i, queries[i], keys[i]) for i in range(self.layers))
        return self.norm("decoder.norm", s.view(-1, 1)).view(s.shape)

    def __call__(self, queries, gallery):
        return self.score_projected(self.project(queries), self.project(gallery))


def reference_decoder(folder, meta, tensors):
    """The authors' own TransMatcher with these weights, as a function like Decoder's."""
    if not os.path.isfile(os.path.join(folder, "transmatcher.py")):
        stop(f"{folder}: no transmatcher.py there; --reference takes a checkout of "
             "github.com/ShengcaiLiao/TransMatcher", 66)
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    import transmatcher
    sys.path.pop(0)
    tokens = int(meta["height"]) * int(meta["width"])
    model = transmatcher.TransMatcher(tokens, int(meta["d_model"]), int(meta["num_layers"]),
                                      int(meta["dim_feedforward"])).eval()
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    missing = [m for m in missing if m.startswith("decoder.") and "num_batches" not in m]
    if missing or unexpected:
        stop(f"{folder}: its model does not take these weights: {(missing + unexpected)[0]}", 65)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eps = float(meta.get("bn_eps", 1e-5))

    def score(queries, gallery):
        model.make_kernel(queries)
        return model(gallery)

    return score


# --- vitrine's side ----------------------------------------------------------------------------


def vitrine_score(args, precision, model, query, gallery):
    """Scores and the processor seconds of one `vitrine score`."""
    out = os.path.join(args.scratch, "scores.npy")
    if os.path.exists(out):
        os.unlink(out)
    command = [args.vitrine, "score", "--precision", precision, "--model", model,
               "--query", query, "--gallery", gallery, "--out", out]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        stop(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return np.load(out), seconds


def vitrine_sample(args, precision, files):
    many = vitrine_score(args, precision, files["model"], *files["many"])[1]
    few = vitrine_score(args, precision, files["model"], *files["few"])[1]
    return (MANY[0] * MANY[1] - FEW[0] * FEW[1]) / (many - few)


# --- checks and measurements -------------------------------------------------------------------


def error_of(scores, expected):
    """The largest error, of scores below 1 absolute, else relative."""
    return float(np.max(np.abs(scores - expected) / np.maximum(1, np.abs(expected))))


def must_agree(who, scores, expected, where):
    error = error_of(scores, expected)
    if not error <= TOLERANCE:
        stop(f"{who} is off by {error:.2g} in {where}, more than {TOLERANCE:g}: nothing was timed",
             65)
    return error


def check_golden(args):
    folder = args.golden or next(f for f in GOLDEN if os.path.isdir(f))
    path = {n: os.path.join(folder, n + ".npy") for n in ("query", "gallery", "scores64")}
    model = os.path.join(folder, "model.safetensors")
    for file in [model, *path.values()]:
        if not os.path.isfile(file):
            stop(f"{file}: not there; --golden takes a folder with model.safetensors, query.npy, "
                 "gallery.npy and scores64.npy", 66)
    expected = np.load(path["scores64"])
    maps = [torch.from_numpy(np.load(path[n]).astype(np.float32)) for n in ("query", "gallery")]
    meta, tensors = read_model(model)
    errors = {"torch": must_agree("torch", Decoder(meta, tensors)(*maps).numpy(), expected, folder)}
    if args.reference:
        scores = reference_decoder(args.reference, meta, tensors)(*maps).numpy()
        errors["reference"] = must_agree("the authors' code", scores, expected, folder)
    for precision in args.precision:
        scores = vitrine_score(args, precision, model, path["query"], path["gallery"])[0]
        errors[precision] = error_of(scores, expected)
        if precision == "f32":
            must_agree("vitrine in f32", scores, expected, folder)
    print(f"golden case {os.path.relpath(folder)}, largest error: "
          + ", ".join(f"{who} {e:.1e}" for who, e in errors.items()))
    return errors


def random_maps(count):
    channels = PAPER["d_model"] * PAPER["num_layers"]
    return torch.randn(count, PAPER["height"], PAPER["width"], channels)


def write_inputs(args, meta, tensors):
    files = {"model": os.path.join(args.scratch, "model.safetensors")}
    formats.write_safetensors(files["model"], meta, {k: t.numpy() for k, t in tensors.items()})
    maps = random_maps(sum(MANY)).numpy()
    for name, (queries, images) in (("many", MANY), ("few", FEW)):
        files[name] = [os.path.join(args.scratch, f"{name}-{kind}.npy")
                       for kind in ("query", "gallery")]
        np.save(files[name][0], maps[:queries])
        np.save(files[name][1], maps[queries:queries + images])
    return files, torch.from_numpy(maps)


def torch_rate(score, queries, gallery, seconds=0.5):
    pairs, begin = 0, time.process_time()
    while True:
        score(queries, gallery)
        pairs += TORCH_QUERIES * TORCH_IMAGES
        spent = time.process_time() - begin
        if spent >= seconds:
            return pairs / spent


def compare(args):
    """Per precision the rates of each round: torch, torch with projected maps, vitrine."""
    meta, tensors = random_model()
    files, maps = write_inputs(args, meta, tensors)
    queries, gallery = maps[:TORCH_QUERIES], maps[MANY[0]:MANY[0] + TORCH_IMAGES]
    own = Decoder(meta, tensors)
    score = reference_decoder(args.reference, meta, tensors) if args.reference else own
    projected = own.project(queries), own.project(gallery)
    expected = score(queries, gallery).numpy()  # warms up, too
    if "f32" in args.precision:
        mine = vitrine_score(args, "f32", files["model"], *files["many"])[0]
        must_agree("vitrine in f32", mine[:TORCH_QUERIES, :TORCH_IMAGES], expected,
                   "the pairs to be measured")
    rates = {p: [] for p in args.precision}
    for _ in range(args.rounds):
        for precision, rounds in rates.items():
            rounds.append((torch_rate(score, queries, gallery),
                           torch_rate(own.score_projected, *projected),
                           vitrine_sample(args, precision, files)))
    return rates


def report(args, rates, errors):
    torch_name = "authors' transmatcher.py" if args.reference else "the authors' operations"
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__} runs {torch_name}; one thread each on processor "
          f"{args.cpu}, {args.rounds} rounds in turns, load {load:.2f}")
    print("pairs/s at the paper's size; ratios are medians of the rounds' (lowest to highest)")
    print(f"{'':10} {'torch':>8} {'projected':>10} {'vitrine':>9}   {'to torch':>20}   "
          f"{'to torch projected':>20}")
    for precision, rounds in rates.items():
        speed = [statistics.median(column) for column in zip(*rounds)]
        ratio = [sorted(r[2] / r[side] for r in rounds) for side in (0, 1)]
        text = [f"{statistics.median(r):.2f} ({r[0]:.2f} to {r[-1]:.2f})" for r in ratio]
        print(f"{precision:10} {speed[0]:8.1f} {speed[1]:10.1f} {speed[2]:9.1f}   {text[0]:>20}   "
              f"{text[1]:>20}")
        if args.json:
            line = {"bench": "compare_torch", "size": "paper", "precision": precision,
                    "torch_pairs_per_s": speed[0], "torch_projected_pairs_per_s": speed[1],
                    "vitrine_pairs_per_s": speed[2], "ratio": statistics.median(ratio[0]),
                    "ratio_projected": statistics.median(ratio[1]), "rounds": args.rounds,
                    "torch": torch.__version__, "reference": bool(args.reference),
                    "golden_error": errors[precision], "load": load}
            line = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()}
            with open(args.json, "a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")


def rounds_count(text):
    if not text.isdigit() or int(text) < 5:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 5 up")
    return int(text)


def precisions(text):
    names = text.split(",")
    if not set(names) <= set(PRECISIONS):
        raise argparse.ArgumentTypeError(f"{text}: of {','.join(PRECISIONS)}, separated by commas")
    return names


def parse():
    p = argparse.ArgumentParser(prog="compare_torch.py", description=__doc__.split("\n")[0])
    p.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"), metavar="DIR",
                   help="folder of the vitrine to measure (default build/release/bin)")
    p.add_argument("--reference", metavar="DIR",
                   help="the authors' checkout, whose transmatcher.py then runs")
    p.add_argument("--golden", metavar="DIR", help="golden case that both must meet first")
    p.add_argument("--precision", type=precisions, default=PRECISIONS, metavar="LIST",
                   help="of f32,bf16,int8 (default all)")
    p.add_argument("--rounds", type=rounds_count, default=7, metavar="N",
                   help="pairs of samples, 5 or more (default 7)")
    p.add_argument("--json", metavar="FILE", help="append JSON lines to it")
    args = p.parse_args()
    args.vitrine = os.path.join(args.bin, "vitrine")
    if not os.access(args.vitrine, os.X_OK):
        stop(f"{args.vitrine}: not there; run make first, or name its folder with --bin", 66)
    return args


def main():
    args = parse()
    args.cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {args.cpu})  # vitrine's runs inherit it
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="vitrine-torch-") as args.scratch, torch.no_grad():
        errors = check_golden(args)
        report(args, compare(args), errors)


main()
