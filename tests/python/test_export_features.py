"""export_features.py: the maps that the formulas give, batch by batch, whole or not at all."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import numpy as np
import torch

from support import (HAS_SHARED, MODEL, NO_SHARED, Formulas, Sizes, command_of, formats,
                     make_checkpoint, make_images, must, one_line, pixels_of, run, vitrine,
                     write_csv)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = [f"{i:02}.{'jpg' if i % 2 else 'png'}" for i in range(9)]
# One number of float16, and what the order of float32 sums makes of it.
HALF = {"rtol": 1.2e-3, "atol": 1e-4}
FLOAT = {"rtol": 1e-3, "atol": 1e-4}


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vitrine-features-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.images, self.out = self.path("images"), self.path("features")
        self.checkpoint = self.path("checkpoint.pth.tar")
        make_images(self.images, NAMES)
        write_csv(self.path("photos.csv"), NAMES)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def save(self, **sizes):
        content = make_checkpoint(Sizes(**sizes))
        torch.save(content, self.checkpoint)
        return content

    def flags(self, *more):
        return ["--checkpoint", self.checkpoint, "--images", self.images, "--out", self.out,
                *([] if "--csv" in more or "--names" in more
                  else ["--csv", self.path("photos.csv")]),
                *([] if "--size" in more else ["--size", "64x32"]), *more]

    def export(self, *more):
        return run("export_features", *self.flags(*more))

    def maps(self, *more):
        must(self.export(*more))
        return np.load(os.path.join(self.out, "photos.npy"))

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def nothing_left(self):
        self.assertFalse(os.path.lexists(self.out))
        self.assertFalse(os.path.lexists(self.out + ".partial"))

    def refused(self, text, *more, code=1):
        done = self.export(*more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(text, done.stderr)
        # Before the last line stand at most what is being done, and progress.
        last = done.stderr.splitlines(keepends=True)[-1]
        self.assertTrue(last.startswith("export_features: ") and one_line(last), done.stderr)
        self.assertNotIn("Traceback", done.stderr)


@unittest.skipUnless(HAS_SHARED, NO_SHARED)
class Trained(Case):
    def setUp(self):
        super().setUp()
        self.checkpoint = os.path.join(MODEL, "checkpoint.pth.tar")
        self.encoder = os.path.join(MODEL, "encoder.safetensors")

    def test_maps_are_those_of_the_file_beside_it(self):
        must(run("export_features", "--checkpoint", self.checkpoint, "--encoder", self.encoder,
                 "--images", self.images, "--csv", self.path("photos.csv"), "--out", self.out,
                 "--batch", 4))
        maps = np.load(self.path("features", "photos.npy"))
        self.assertEqual((maps.shape, maps.dtype), ((9, 12, 12, 256), np.float16))
        expected = Formulas(formats.read_safetensors(self.encoder)[1], "backbone")(
            pixels_of(self.images, NAMES, 192, 192, MEAN, STD))
        np.testing.assert_allclose(maps.astype(np.float32), expected, **HALF)
        self.assertEqual(self.text("features/photos.csv"), self.text("photos.csv"))

    def test_from_a_checkpoint_to_a_ranking(self):
        write_csv(self.path("query.csv"), NAMES[:2])
        must(run("export_checkpoint", self.checkpoint, "--height", 12, "--out",
                 self.path("model.safetensors")))
        must(self.export("--size", "192x192", "--csv", self.path("query.csv"), "--csv",
                         self.path("photos.csv")))
        must(vitrine("import", "--model", self.path("model.safetensors"), "--features",
                     self.path("features", "photos.npy"), "--meta",
                     self.path("features", "photos.csv"), "--out", self.path("gallery")))
        answers = must(vitrine("search", "--gallery", self.path("gallery"), "--features",
                               self.path("features", "query.npy"), "--meta",
                               self.path("features", "query.csv"), "-k", 9, "--json"))
        answers = [json.loads(line) for line in answers.splitlines()]
        self.assertEqual(len(answers), 2)
        for answer in answers:
            self.assertEqual(sorted(hit["name"] for hit in answer["hits"]), NAMES)


class Encoder(Case):
    """Every kind of network, of few channels, against the formulas."""

    def expect(self, content, maps, size=(64, 32), tolerance=FLOAT, **how):
        expected = Formulas(content["model"], "base", **how)(pixels_of(self.images, NAMES, *size))
        self.assertEqual(maps.shape, expected.shape)
        np.testing.assert_allclose(maps, expected, **tolerance)

    def test_resnet50_ibn_b_at_the_papers_size(self):
        content = self.save(bottleneck=True, ibn="b", blocks=(3, 4, 6), layers=3, tokens=192)
        must(run("export_features", "--checkpoint", self.checkpoint, "--images", self.images,
                 "--csv", self.path("photos.csv"), "--out", self.out, "--dtype", "float32"))
        maps = np.load(self.path("features", "photos.npy"))
        self.assertEqual((maps.shape, maps.dtype), ((9, 24, 8, 24), np.float32))
        self.expect(content, maps, (384, 128))

    def test_ibn_a_and_two_heads(self):
        content = self.save(bottleneck=True, ibn="a", blocks=(2, 3, 2))
        self.expect(content, self.maps("--dtype", "float32", "--heads", 2), heads=2)

    def test_resnet18_cut_at_layer2(self):
        content = self.save(blocks=(2, 2), planes=(4, 8), layers=1, tokens=32)
        self.expect(content, self.maps("--dtype", "float32"))

    def test_qaconv_has_tokens_of_one_unit(self):
        content = self.save(matcher="qaconv", layers=1)
        maps = self.maps("--dtype", "float32")
        np.testing.assert_allclose(np.linalg.norm(maps, axis=-1), 1, rtol=1e-5)
        self.expect(content, maps, unit_tokens=True)

    def test_mean_and_std(self):
        content = self.save()
        maps = self.maps("--dtype", "float32", "--mean", "0.1,0.2,0.3", "--std", "0.5,0.6,0.7")
        expected = Formulas(content["model"], "base")(
            pixels_of(self.images, NAMES, 64, 32, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
        np.testing.assert_allclose(maps, expected, **FLOAT)

    def test_what_export_checkpoint_wrote_is_taken(self):
        self.save()
        encoder = self.path("encoder.safetensors")
        must(run("export_checkpoint", self.checkpoint, "--height", 4, "--out",
                 self.path("model.safetensors"), "--encoder", encoder, "--heads", 4,
                 "--mean", "0.1,0.2,0.3", "--std", "0.5,0.6,0.7"))
        must(run("export_features", "--checkpoint", self.checkpoint, "--encoder", encoder,
                 "--images", self.images, "--csv", self.path("photos.csv"), "--out", self.out))
        taken = np.load(self.path("features", "photos.npy"))
        self.out = self.path("said")
        said = self.maps("--mean", "0.1,0.2,0.3", "--std", "0.5,0.6,0.7", "--heads", 4)
        self.assertEqual(taken.tobytes(), said.tobytes())

    def test_float16_is_float32_rounded_whatever_the_batch(self):
        content = self.save()
        maps = self.maps("--batch", 2)
        self.assertEqual(maps.dtype, np.float16)
        self.expect(content, maps.astype(np.float32), tolerance=HALF)

    def test_a_map_that_float16_cannot_hold(self):
        content = self.save()
        content["model"]["neck_conv.bias"][2] = 1e6
        torch.save(content, self.checkpoint)
        self.refused("00.png: its feature map is not finite in float16: try --dtype float32")
        self.nothing_left()
        self.assertGreater(self.maps("--dtype", "float32").max(), 9e5)


class Folder(Case):
    """A dataset's folder, in and out."""

    def test_market1501(self):
        content = self.save()
        names = ["query/0001_c2s1_000001_00.jpg", "bounding_box_test/0000_c1s1_000002_00.jpg",
                 "bounding_box_test/0001_c1s1_000003_00.jpg"]
        make_images(self.images, [*names, "bounding_box_test/-1_c1s1_000004_00.jpg"])
        done = self.export("--names", "market1501", "--dtype", "float32")
        must(done)
        self.assertIn("published with 3368 and 15913", done.stderr)
        self.assertEqual(sorted(os.listdir(self.out)),
                         ["gallery.csv", "gallery.npy", "query.csv", "query.npy"])
        self.assertEqual(self.text("features/query.csv"),
                         f"name,pid,camid,timestamp\n{names[0]},1,2,0\n")
        self.assertEqual(self.text("features/gallery.csv"), "name,pid,camid,timestamp\n"
                         f"{names[1]},0,1,0\n{names[2]},1,1,0\n")
        for split, part in (("query", names[:1]), ("gallery", names[1:])):
            np.testing.assert_allclose(
                np.load(self.path("features", f"{split}.npy")),
                Formulas(content["model"], "base")(pixels_of(self.images, part, 64, 32)), **FLOAT)

    def test_names_with_commas_and_quotes_survive(self):
        self.save()
        names = ['a, "b".png', "ö.png"]
        make_images(self.images, names)
        with open(self.path("photos.csv"), "w", encoding="utf-8") as f:
            f.write('name,pid,camid\n"a, ""b"".png",1,2\nö.png,3,4\n')
        self.assertEqual(len(self.maps()), 2)
        self.assertEqual(self.text("features/photos.csv"), 'name,pid,camid,timestamp\n'
                         '"a, ""b"".png",1,2,0\nö.png,3,4,0\n')

    def break_images(self):
        with open(self.path("images", NAMES[3]), "r+b") as f:
            f.truncate(300)
        with open(self.path("images", NAMES[6]), "wb") as f:
            f.write(b"no image at all")
        os.unlink(self.path("images", NAMES[7]))

    def test_a_broken_image_is_named(self):
        self.save()
        self.break_images()
        self.refused(f"{self.path('images', NAMES[3])}: cannot be read as an image", "--batch", 2)
        self.nothing_left()

    def test_skip_broken_leaves_them_out_of_both_files(self):
        content = self.save()
        self.break_images()
        done = self.export("--batch", 2, "--dtype", "float32", "--skip-broken")
        self.assertIn("6 maps of 4 x 2 x 16, float32, 3 left out", must(done))
        kept = [n for n in NAMES if n not in (NAMES[3], NAMES[6], NAMES[7])]
        for name in set(NAMES) - set(kept):
            self.assertIn(f"left out: {self.path('images', name)}", done.stderr)
        maps = np.load(self.path("features", "photos.npy"))
        np.testing.assert_allclose(
            maps, Formulas(content["model"], "base")(pixels_of(self.images, kept, 64, 32)), **FLOAT)
        rows = self.text("features/photos.csv").splitlines()[1:]
        self.assertEqual([row.split(",")[0] for row in rows], kept)

    def test_no_image_at_all(self):
        self.save()
        for name in NAMES:
            os.unlink(self.path("images", name))
        self.refused("photos: none of its 9 images could be read", "--skip-broken")
        self.nothing_left()

    def test_what_is_in_the_way_stays(self):
        self.save()
        os.makedirs(self.out)
        self.refused("is in the way: remove it, or choose another --out")
        os.rmdir(self.out)
        os.makedirs(self.out + ".partial")
        with open(self.path("features.partial", "notes.txt"), "w", encoding="utf-8"):
            pass
        self.refused("holds 'notes.txt', which no export left there")
        self.assertEqual(os.listdir(self.out + ".partial"), ["notes.txt"])

    def test_inputs_that_do_not_fit(self):
        self.save()
        self.refused("--size 128x32 gives maps of 8 x 2 tokens; the matcher was trained on 8",
                     "--size", "128x32")
        done = run("export_features", "--checkpoint", self.checkpoint, "--images", self.images,
                   "--csv", self.path("photos.csv"), "--out", self.out)
        self.assertIn("maps of 8 tokens, which images of 384x128 do not give; say --size",
                      done.stderr)
        self.refused("--heads 3 does not divide the 8 channels", "--heads", 3)
        self.refused("another --csv is called photos, too", "--csv", self.path("photos.csv"),
                     "--csv", self.path("photos.csv"))
        self.refused("none.csv: No such file or directory", "--csv", self.path("none.csv"))
        self.refused("--device nonsense: ", "--device", "nonsense")
        with open(self.path("e.safetensors"), "wb") as f:
            f.write(b"\xff" * 40)
        self.refused("e.safetensors: no safetensors file", "--encoder", self.path("e.safetensors"))
        self.images = self.path("nowhere")
        self.refused("nowhere: no such folder")
        for flags in (["--size", "64"], ["--batch", "0"], ["--names", "duke"]):
            self.assertEqual(self.export(*flags).returncode, 2, flags)
        self.nothing_left()

    def test_help_teaches(self):
        text = must(run("export_features", "--help"))
        self.assertIn("--images Market-1501 --names market1501", text)


class Streaming(Case):
    def many(self, count):
        """A list that names the same nine images again and again."""
        write_csv(self.path("photos.csv"), [NAMES[i % 9] for i in range(count)])

    def peak_bytes(self, count):
        self.many(count)
        self.out = self.path(f"features{count}")
        child = subprocess.Popen(command_of("export_features", *self.flags(
            "--size", "384x128", "--dtype", "float32", "--batch", 16)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0)
        return used.ru_maxrss * 1024, os.path.getsize(os.path.join(self.out, "photos.npy"))

    def test_memory_does_not_grow_with_the_dataset(self):
        self.save(tokens=192, neck=256)
        few, few_bytes = self.peak_bytes(64)
        many, many_bytes = self.peak_bytes(512)
        grown = many_bytes - few_bytes
        self.assertGreater(grown, 150e6)
        self.assertLess(many - few, grown / 2, f"{few} bytes, then {many}")

    def start_and_wait(self):
        """An export of many images that has written some of them. Where the tests run in the
        background they ignore SIGINT, and so would the export."""
        child = subprocess.Popen(command_of("export_features", *self.flags("--batch", 1)),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(child.stderr.close)
        written, deadline = self.path("features.partial", "photos.npy"), time.monotonic() + 240
        while not os.path.exists(written) or os.path.getsize(written) < 3000:
            self.assertIsNone(child.poll(), "it ended before it could be stopped")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return child

    def test_killed_it_leaves_nothing_under_the_name_and_runs_again(self):
        self.save()
        self.many(20000)
        child = self.start_and_wait()
        self.refused("features.partial: another export writes there")
        child.send_signal(signal.SIGKILL)
        self.assertEqual(child.wait(), -signal.SIGKILL)
        self.assertFalse(os.path.lexists(self.out))
        self.assertTrue(os.path.getsize(self.path("features.partial", "photos.npy")))
        write_csv(self.path("photos.csv"), NAMES)
        self.assertEqual(len(self.maps()), 9)
        self.assertFalse(os.path.lexists(self.out + ".partial"))

    def test_interrupted_it_cleans_up(self):
        self.save()
        self.many(20000)
        child = self.start_and_wait()
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(240), 130)
        self.assertIn("export_features: stopped", child.stderr.read())
        self.nothing_left()


if __name__ == "__main__":
    unittest.main()
