"""export_checkpoint.py: a checkpoint becomes weights that vitrine reads, or a line says why not."""
import argparse
import collections
import datetime
import os
import pathlib
import tempfile
import unittest
import zipfile

import numpy as np
import torch

from support import (GROCERY, HAS_SHARED, MODEL, NO_SHARED, Formulas, Sizes, formats,
                     make_checkpoint, must, one_line, run, vitrine)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vitrine-export-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.checkpoint, self.out = self.path("checkpoint.pth.tar"), self.path("model.safetensors")

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, content, **how):
        torch.save(content, self.checkpoint, **how)

    def export(self, *flags):
        return run("export_checkpoint", self.checkpoint, "--out", self.out, *flags)

    def exported(self, *flags):
        must(self.export(*flags))
        return formats.read_safetensors(self.out)

    def refused(self, text, *flags):
        """One line with `text` in it, exit code 1, nothing written and nothing lost."""
        with open(self.out, "wb") as f:
            f.write(b"older")
        done = self.export(*flags)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertTrue(one_line(done.stderr), done.stderr)
        self.assertTrue(done.stderr.startswith("export_checkpoint: "), done.stderr)
        self.assertIn(text, done.stderr)
        with open(self.out, "rb") as f:
            self.assertEqual(f.read(), b"older")
        self.assertFalse(os.path.exists(self.out + ".partial"))


@unittest.skipUnless(HAS_SHARED, NO_SHARED)
class Trained(Case):
    """The trained checkpoint, against the files beside it."""

    def setUp(self):
        super().setUp()
        self.checkpoint = os.path.join(MODEL, "checkpoint.pth.tar")

    def test_model_is_the_file_beside_it_bit_for_bit(self):
        metadata, tensors = self.exported("--height", 12, "--width", 12)
        beside = formats.read_safetensors(os.path.join(MODEL, "model.safetensors"))
        self.assertEqual(metadata, beside[0])
        self.assertEqual(list(tensors), list(beside[1]))
        for name, values in beside[1].items():
            self.assertEqual(tensors[name].shape, values.shape, name)
            self.assertEqual(tensors[name].tobytes(), values.tobytes(), name)

    def test_encoder_is_the_file_beside_it_bit_for_bit(self):
        encoder = self.path("encoder.safetensors")
        must(self.export("--height", 12, "--encoder", encoder, "--mean", "0.485,0.456,0.406",
                         "--std", "0.229,0.224,0.225"))
        metadata, tensors = formats.read_safetensors(encoder)
        beside = formats.read_safetensors(os.path.join(MODEL, "encoder.safetensors"))
        self.assertEqual(set(tensors), set(beside[1]))
        for name, values in beside[1].items():
            self.assertEqual(tensors[name].shape, values.shape, name)
            self.assertEqual(tensors[name].tobytes(), values.tobytes(), name)
        for key in ("kind", "mean", "std", "input_height", "input_width", "height", "width",
                    "channels", "layernorm_eps"):
            self.assertEqual(metadata[key], beside[0][key], key)

    def test_scores_are_those_of_the_file_beside_it(self):
        must(self.export("--width", 12))
        scores = []
        for model in (self.out, os.path.join(MODEL, "model.safetensors")):
            out = self.path("scores.npy")
            must(vitrine("score", "--model", model, "--query", os.path.join(GROCERY, "query.npy"),
                         "--gallery", os.path.join(GROCERY, "gallery.npy"), "--out", out))
            scores.append(np.load(out))
            os.unlink(out)
        self.assertEqual(scores[0].tobytes(), scores[1].tobytes())
        expected = np.load(os.path.join(GROCERY, "scores64.npy"))
        self.assertLess(np.abs(scores[0] - expected).max(), 1e-4)


class Layout(Case):
    """Sizes and names, on made-up checkpoints."""

    def test_sizes_come_from_the_tensors(self):
        content = make_checkpoint(Sizes(tokens=15, neck=6, layers=3, ff=7))
        self.save(content)
        metadata, tensors = self.exported("--height", 5)
        self.assertEqual(metadata, {"matcher": "transmatcher", "height": "5", "width": "3",
                                    "d_model": "6", "num_layers": "3", "dim_feedforward": "7",
                                    "bn_eps": "1e-05"})
        expected = {k[len("matcher."):]: v for k, v in content["criterion"].items()
                    if ".decoder_layer." not in k and "num_batches" not in k}
        self.assertEqual(list(tensors), list(expected))
        for name, values in expected.items():
            self.assertEqual(tensors[name].tobytes(), values.numpy().tobytes(), name)

    def test_the_papers_map_needs_no_flags(self):
        self.save(make_checkpoint(Sizes(tokens=192)))
        metadata, _ = self.exported()
        self.assertEqual((metadata["height"], metadata["width"]), ("24", "8"))

    def test_another_map_asks_for_its_height_and_width(self):
        self.save(make_checkpoint(Sizes(tokens=144)))
        self.refused("144 tokens; say --height and --width")
        self.refused("--height 24 --width 8: 192 tokens, but the matcher was trained on 144",
                     "--height", 24, "--width", 8)
        self.refused("7 does not divide the 144 tokens", "--height", 7)
        self.refused("145 does not divide the 144 tokens", "--width", 145)

    def test_vitrine_reads_what_is_written(self):
        self.save(make_checkpoint(Sizes()))
        must(self.export("--height", 4))
        maps = np.random.default_rng(1).standard_normal((3, 4, 2, 16)).astype(np.float32)
        np.save(self.path("maps.npy"), maps)
        must(vitrine("score", "--model", self.out, "--query", self.path("maps.npy"), "--gallery",
                     self.path("maps.npy"), "--out", self.path("scores.npy")))
        self.assertEqual(np.load(self.path("scores.npy")).shape, (3, 3))

    def test_qaconv_scores_as_its_formula(self):
        content = make_checkpoint(Sizes(matcher="qaconv", layers=1))
        self.save(content)
        metadata, _ = self.exported("--height", 4)
        self.assertEqual((metadata["matcher"], metadata["num_features"]), ("qaconv", "8"))
        maps = np.random.default_rng(1).standard_normal((3, 4, 2, 8)).astype(np.float32)
        np.save(self.path("maps.npy"), maps)
        must(vitrine("score", "--model", self.out, "--query", self.path("maps.npy"), "--gallery",
                     self.path("maps.npy"), "--out", self.path("scores.npy")))
        w = {k[len("matcher."):]: v.double().numpy() for k, v in content["criterion"].items()}

        def norm(name, x):
            return ((x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
                    * w[f"{name}.weight"] + w[f"{name}.bias"])

        tokens = maps.reshape(3, 8, 8).astype(np.float64)
        s = np.einsum("qtd,gsd->qgts", tokens, tokens)
        both = sum(norm("bn", m) @ w["fc.weight"][0] + w["fc.bias"][0]
                   for m in (s.max(axis=2), s.max(axis=3)))
        np.testing.assert_allclose(np.load(self.path("scores.npy")), norm("logit_bn", both),
                                   rtol=1e-5, atol=1e-5)

    def test_a_qaconv_without_a_neck_asks_for_its_channels(self):
        content = make_checkpoint(Sizes(matcher="qaconv", layers=1))
        del content["model"]["neck_conv.weight"]
        self.save(content)
        self.refused("say --channels", "--height", 4)
        metadata, _ = self.exported("--height", 4, "--channels", 8)
        self.assertEqual(metadata["num_features"], "8")

    def test_the_encoder_of_every_kind_is_folded_rightly(self):
        pixels = torch.rand((2, 3, 64, 32), generator=torch.Generator().manual_seed(4))
        for kind in ({"bottleneck": True, "ibn": "b", "blocks": (3, 4, 6)},
                     {"bottleneck": True, "ibn": "a", "blocks": (2, 1, 2)}, {"blocks": (2, 2, 2)}):
            with self.subTest(kind):
                content = make_checkpoint(Sizes(**kind))
                self.save(content)
                encoder = self.path("encoder.safetensors")
                must(self.export("--height", 4, "--encoder", encoder))
                expected = Formulas(content["model"], "base")(pixels)
                maps = Formulas(formats.read_safetensors(encoder)[1], "backbone")(pixels)
                np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4)


class Saved(Case):
    """What torch.save may have done to the same weights."""

    def setUp(self):
        super().setUp()
        self.content = make_checkpoint(Sizes())
        self.save(self.content)
        self.plain = self.exported("--height", 4)[1]

    def same(self):
        tensors = self.exported("--height", 4)[1]
        self.assertEqual(list(tensors), list(self.plain))
        for name, values in self.plain.items():
            np.testing.assert_array_equal(tensors[name], values, name)

    def test_data_parallel(self):
        self.content["criterion"] = {"module." + k: v for k, v in self.content["criterion"].items()}
        self.save(self.content)
        self.same()

    def test_views_and_transposed_tensors(self):
        criterion = self.content["criterion"]
        for name, values in criterion.items():
            if values.dim() == 2:
                criterion[name] = values.t().contiguous().t()
            elif values.dim() == 1:
                criterion[name] = torch.cat((torch.full((3,), float("nan")), values))[3:]
        self.save(self.content)
        self.same()

    def test_other_precisions(self):
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            with self.subTest(dtype):
                content = dict(self.content)
                content["criterion"] = {k: v.to(dtype) if v.is_floating_point() else v
                                        for k, v in content["criterion"].items()}
                self.save(content)
                self.plain = {k: content["criterion"]["matcher." + k].float().numpy()
                              for k in self.plain}
                self.same()

    def test_parameters_and_foreign_objects(self):
        name = "matcher.decoder.layers.0.fc1.weight"
        self.content["criterion"][name] = torch.nn.Parameter(self.content["criterion"][name])
        self.content.update(args=argparse.Namespace(lr=0.1), best=np.float64(0.5), seen={1, 2},
                            when=datetime.datetime(2026, 1, 2), where=pathlib.Path("/tmp"),
                            counts=collections.Counter("abc"), queue=collections.deque([1]),
                            lists=collections.defaultdict(list, a=[1]), dtype=torch.float16,
                            size=torch.Size((1, 2)), array=np.ones(3), function=os.path.join)
        self.save(self.content)
        self.same()

    def test_nothing_in_it_is_executed(self):
        marker = self.path("executed")
        self.content["optim"] = Hostile(marker)
        self.save(self.content)
        self.same()
        self.assertFalse(os.path.exists(marker))
        torch.load(self.checkpoint, weights_only=False)
        self.assertTrue(os.path.exists(marker), "the checkpoint was harmless: this tests nothing")


class Hostile:
    """Makes a folder when it is unpickled by anybody who trusts it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Refusals(Case):
    def setUp(self):
        super().setUp()
        self.content = make_checkpoint(Sizes())
        self.criterion = self.content["criterion"]

    def refused_as(self, text):
        self.save(self.content)
        self.refused(text, "--height", 4)

    def test_a_nan(self):
        self.criterion["matcher.decoder.layers.1.fc2.weight"][3, 2] = float("nan")
        self.refused_as("'matcher.decoder.layers.1.fc2.weight' holds a NaN")

    def test_an_infinity_of_the_encoder(self):
        self.content["model"]["neck_conv.bias"][1] = float("inf")
        self.save(self.content)
        self.refused("'neck_conv.bias' holds a NaN or an infinity", "--height", 4, "--encoder",
                     self.path("encoder.safetensors"))
        self.assertFalse(os.path.exists(self.path("encoder.safetensors")))

    def test_a_missing_tensor(self):
        del self.criterion["matcher.decoder.layers.1.bn2.running_var"]
        self.refused_as("'matcher.decoder.layers.1.bn2.running_var' of shape [16] is missing")

    def test_a_missing_tensor_of_the_encoder(self):
        del self.content["model"]["base.layer2.0.bn1.running_mean"]
        self.save(self.content)
        self.refused("'base.layer2.0.bn1.running_mean' of shape [4] is missing", "--height", 4,
                     "--encoder", self.path("encoder.safetensors"))

    def test_a_wrong_shape(self):
        self.criterion["matcher.decoder.layers.1.fc1.weight"] = torch.ones(8, 9)
        self.refused_as("'matcher.decoder.layers.1.fc1.weight' has shape [8, 9]; the others ask "
                        "[8, 8]")

    def test_a_tensor_that_no_matcher_has(self):
        self.criterion["matcher.decoder.layers.0.gate"] = torch.ones(1)
        self.refused_as("'matcher.decoder.layers.0.gate' is none of the reference's")

    def test_a_negative_variance(self):
        self.criterion["matcher.decoder.norm.running_var"][0] = -1
        self.refused_as("'matcher.decoder.norm.running_var' holds a negative variance")

    def test_encoder_and_matcher_of_two_trainings(self):
        self.content["model"] = make_checkpoint(Sizes(layers=3))["model"]
        self.save(self.content)
        self.refused("the encoder makes 3 parts of 8 channels, the matcher takes 2 of 8",
                     "--height", 4, "--encoder", self.path("encoder.safetensors"))

    def test_another_kind_of_model(self):
        self.content["criterion"] = {"matcher.weight": torch.ones(2, 2)}
        self.refused_as("no 'matcher.decoder.layers.0.score_embed' in 'criterion'")

    def test_weights_alone(self):
        self.content = self.content["model"]
        self.refused_as("has no state dict 'criterion'")

    def test_no_tensors(self):
        self.content["criterion"] = {"matcher.fc.weight": [1, 2, 3]}
        self.refused_as("'matcher.fc.weight' is no tensor")

    def test_a_zip_that_torch_save_did_not_write(self):
        self.save(self.content)
        with zipfile.ZipFile(self.checkpoint) as source:
            members = {name: source.read(name) for name in source.namelist()}
        pickled = next(name for name in members if name.endswith("/data.pkl"))
        for change, kind in ((b"K\x10K\xff\x86", zipfile.ZIP_STORED),  # BININT1 16, BININT1 255
                             (b"K\x10K\x08\x86", zipfile.ZIP_DEFLATED)):
            self.assertIn(b"K\x10K\x08\x86", members[pickled])  # the shape (16, 8) of fc2.weight
            with zipfile.ZipFile(self.checkpoint, "w", kind) as out:
                for name, data in members.items():
                    if name == pickled:
                        data = data.replace(b"K\x10K\x08\x86", change)
                    out.writestr(name, data)
            self.refused("fc2.weight' cannot be read (ValueError: its shape (16, 255) does not fit "
                         "its 128 numbers)" if kind == zipfile.ZIP_STORED else "is compressed",
                         "--height", 4)

    def test_a_checkpoint_cut_short(self):
        self.save(self.content)
        with open(self.checkpoint, "r+b") as f:
            f.truncate(5000)
        self.refused("no checkpoint of torch.save", "--height", 4)

    def test_the_format_before_pytorch_1_6(self):
        self.save(self.content, _use_new_zipfile_serialization=False)
        self.refused("no checkpoint of torch.save since PyTorch 1.6", "--height", 4)

    def test_no_file(self):
        self.refused(f"{self.checkpoint}: No such file or directory")

    def test_no_folder_for_the_output(self):
        self.save(self.content)
        done = run("export_checkpoint", self.checkpoint, "--height", 4, "--out",
                   self.path("no/model.safetensors"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file or directory", done.stderr)
        self.assertTrue(one_line(done.stderr), done.stderr)

    def test_wrong_flags(self):
        self.save(self.content)
        for flags in (["--height", "0"], ["--mean", "1,2"], ["--bogus"]):
            self.assertEqual(self.export(*flags).returncode, 2, flags)

    def test_help_teaches(self):
        text = must(run("export_checkpoint", "--help"))
        self.assertIn("export_checkpoint.py checkpoint.pth.tar --out model.safetensors", text)


if __name__ == "__main__":
    unittest.main()
