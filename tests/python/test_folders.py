"""folders.py: which files are images of whom, by the naming rules of each dataset."""
import os
import tempfile
import unittest

import support  # noqa: F401  (puts ops/python on the path)
import folders
from command import Refused


class Folders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vitrine-folders-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def put(self, *names, text=""):
        for name in names:
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

    def read(self, naming):
        return {split: [tuple(image) for image in images]
                for split, images in folders.read_names(self.folder, naming).items()}

    def refused(self, naming, text):
        with self.assertRaises(Refused) as caught:
            folders.read_names(self.folder, naming)
        self.assertIn(text, str(caught.exception))

    def test_market1501(self):
        self.put("query/0002_c1s1_000451_03.jpg", "query/0001_c6s3_077467_00.jpg",
                 "query/Thumbs.db", "bounding_box_train/0007_c1s1_000001_01.jpg",
                 "bounding_box_test/-1_c3s1_000051_00.jpg",
                 "bounding_box_test/0000_c4s1_000051_00.jpg",
                 "bounding_box_test/1501_c2s1_000051_00.jpg")
        self.assertEqual(self.read("market1501"), {
            "query": [("query/0001_c6s3_077467_00.jpg", 1, 6, 0),
                      ("query/0002_c1s1_000451_03.jpg", 2, 1, 0)],
            "gallery": [("bounding_box_test/0000_c4s1_000051_00.jpg", 0, 4, 0),
                        ("bounding_box_test/1501_c2s1_000051_00.jpg", 1501, 2, 0)]})

    def test_cuhk03_np(self):
        self.put("query/0003_c1_21.png", "bounding_box_test/0003_c2_27.png")
        self.assertEqual(self.read("cuhk03-np"), {
            "query": [("query/0003_c1_21.png", 3, 1, 0)],
            "gallery": [("bounding_box_test/0003_c2_27.png", 3, 2, 0)]})

    def test_veri(self):
        self.put("image_query/0002_c002_00030600_0.jpg", "image_test/0776_c020_00085700_0.jpg")
        self.assertEqual(self.read("veri"), {
            "query": [("image_query/0002_c002_00030600_0.jpg", 2, 2, 0)],
            "gallery": [("image_test/0776_c020_00085700_0.jpg", 776, 20, 0)]})

    def test_msmt17(self):
        line = "0000/0000_000_01_0303morning_0015_0.jpg 0\n"
        other = "3059/3059_054_15_0114noon_1171_0.jpg 3059\n"
        for subfolder in ("mask_test_v2", "test"):  # of V2, and of V1 which is preferred
            self.put(f"{subfolder}/.keep")
            self.put("list_query.txt", text=line)
            self.put("list_gallery.txt", text=other + line)
            self.assertEqual(self.read("msmt17"), {
                "query": [(f"{subfolder}/0000/0000_000_01_0303morning_0015_0.jpg", 1, 1, 0)],
                "gallery": [(f"{subfolder}/3059/3059_054_15_0114noon_1171_0.jpg", 3060, 15, 0),
                            (f"{subfolder}/0000/0000_000_01_0303morning_0015_0.jpg", 1, 1, 0)]})

    def test_what_is_no_such_dataset(self):
        self.refused("market1501", "query: no such folder; market1501 has its query images there")
        self.refused("msmt17", "holds neither test nor mask_test_v2")
        self.put("query/0001_c1.jpg", "bounding_box_test/.keep")
        self.refused("market1501", "no images for gallery there")
        self.put("bounding_box_test/cat.jpg")
        self.refused("market1501", "cat.jpg: no name as market1501 has them")
        self.put("test/.keep")
        self.put("list_query.txt", text="0000/0000_000_01_0303morning_0015_0.jpg 0\nnonsense\n")
        self.refused("msmt17", "list_query.txt: line 2: expected 'path pid'")

    def test_counts_are_compared_with_the_published(self):
        images = {"query": [0] * 1400, "gallery": [0] * 5328}
        self.assertIsNone(folders.count_note("cuhk03-np", images))
        self.assertEqual(folders.count_note("market1501", images),
                         "market1501 was published with 3368 and 15913 query and gallery images; "
                         "here are 1400 and 5328")

    def test_csv(self):
        self.put("a.csv", text='\ufeffcamid,name,pid,more\n3,"a, b.png",-1,x\n0,ö.png,7,\n')
        self.assertEqual([tuple(i) for i in folders.read_csv(os.path.join(self.folder, "a.csv"))],
                         [("a, b.png", -1, 3, 0), ("ö.png", 7, 0, 0)])

    def test_csv_that_is_none(self):
        for text, why in (("name,pid\na,1\n", "no column camid"), ("", "no column camid, name"),
                          ("name,pid,camid\n", "names no images"),
                          ("name,pid,camid\na,1,2\nb,x,2\n", "line 3: expected a name and whole"),
                          ("name,pid,camid\na,1\n", "line 2: expected a name and whole"),
                          ("name,pid,camid\n,1,2\n", "the name '' is empty"),
                          ('name,pid,camid\n"a\tb",1,2\n', r"the name 'a\tb' is empty, no UTF-8")):
            with self.subTest(text):
                self.put("a.csv", text=text)
                with self.assertRaises(Refused) as caught:
                    folders.read_csv(os.path.join(self.folder, "a.csv"))
                self.assertIn(why, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
