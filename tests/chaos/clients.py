"""Clients that search and evaluate without pause, and a judge of what they are told."""
from __future__ import annotations

import asyncio
import json
import os
import re
import struct
import time

from cluster import Cluster

HITS = re.compile(r'"hits":\[.*?\],"coverage"')
K = 20


def first_query(source: str, target: str) -> None:
    """A file with the first of the maps in a .npy of version 1."""
    with open(source, "rb") as f:
        size = struct.unpack("<8xH", f.read(10))[0]
        header = f.read(size).decode()
        shape = [int(n) for n in re.search(r"'shape': \(([^)]*)\)", header)[1].split(",")]
        floats = shape[1] * shape[2] * shape[3]
        body = f.read(floats * int(re.search(r"'descr': '<f(\d)'", header)[1]))
    header = header.replace(f"({shape[0]},", "(1,").rstrip().ljust(size - 1) + "\n"
    with open(target, "wb") as f:
        f.write(b"\x93NUMPY\1\0" + struct.pack("<H", size) + header.encode() + body)


class Counts:
    def __init__(self):
        self.queries = self.partial = self.failed = self.wrong = 0
        self.evaluations = self.faults = 0
        self.slowest_s = 0.0  # of the searches for a single query

    def line(self) -> str:
        return (f"{self.faults} faults, {self.queries} queries, {self.evaluations} evaluations, "
                f"{self.partial} partial, {self.failed} failed, {self.wrong} wrong")


class Clients:
    def __init__(self, cluster: Cluster, counts: Counts, say):
        self.c, self.counts, self.say = cluster, counts, say
        self.one = os.path.join(cluster.folder, "one.npy")
        self.rankings: list[list[tuple[int, float]]] = []  # a query: every image, the best first
        self.hits: list[str] = []                          # a query: the text of its K best
        self.figures = ""                                  # of the evaluation
        self.first_image: list[int] = []                   # a shard, and one more

    # --- what is right ---------------------------------------------------------------------------

    def search_words(self, features: str, k: int) -> list[object]:
        return ["search", "--connect", self.c.endpoint, "--json", "--features", features, "-k", k,
                "--deadline-ms", self.c.o.deadline_ms]

    async def must(self, *words: object) -> str:
        code, out, err = await self.c.vitrine(*words)
        if code:
            raise SystemExit(f"vitrine {words[0]} failed in peace: {code}\n{err}")
        return out

    async def learn(self) -> None:
        """What an undisturbed cluster answers."""
        o = self.c.o
        first_query(o.query, self.one)
        manifest = json.loads(await self.must("inspect", self.c.gallery, "--json"))
        self.first_image = [s["first_image"] for s in manifest["shards"]] + [manifest["images"]]
        every = self.search_words(o.query, manifest["images"]) + ["--min-coverage", 1]
        best = self.search_words(o.query, K) + ["--min-coverage", 1]
        for line in (await self.must(*every)).splitlines():
            self.rankings.append([(h["id"], h["score"]) for h in json.loads(line)["hits"]])
        for line in (await self.must(*best)).splitlines():
            self.hits.append(HITS.search(line)[0])
        self.figures = await self.evaluate()

    # --- judgement -------------------------------------------------------------------------------

    def is_true(self, answer: dict) -> bool:
        """Is a partial answer the best of what it says it covers? Of a shard that a deadline cut
        short it is not known which images count: each may be in the answer or not."""
        gone: set[int] = set()
        unsure: set[int] = set()
        lacking = 0
        for m in answer["missing"]:
            images = range(self.first_image[m["shard"]], self.first_image[m["shard"] + 1])
            (unsure if m["images_scored"] else gone).update(images)
            lacking += m["images"] - m["images_scored"]
        ranking = self.rankings[answer["query"]]
        told = [(h["id"], h["score"]) for h in answer["hits"]]
        best = [hit for hit in ranking
                if hit[0] not in gone and (hit[0] not in unsure or hit in told)][:K]
        covered = answer["coverage"]
        return (best == told and covered["images"] == len(ranking) - lacking and
                covered["images_total"] == len(ranking) and
                covered["shards"] == covered["shards_total"] - len(answer["missing"]))

    def judge(self, queries: int, code: int, out: str, err: str, whole: bool) -> None:
        """One search's output, of which every query must be answered, and if `whole` wholly."""
        n = self.counts
        bad = n.failed + n.wrong
        lines = out.splitlines()
        partial = 0
        for line in lines:
            answer = json.loads(line)
            if answer["missing"]:
                partial += 1
                n.wrong += not self.is_true(answer)
            else:
                n.wrong += HITS.search(line)[0] != self.hits[answer["query"]]
        allowed = (0, 69) if partial and not whole else (1, 69) if partial else (0,)
        n.queries += queries
        n.partial += partial
        n.failed += queries - len(lines)
        n.failed += len(lines) == queries and code not in allowed
        if n.failed + n.wrong > bad or whole and partial:
            self.say(f"exit {code}, {len(lines)} of {queries} answers, {partial} partial; "
                     f"now {n.line()}\n{err.rstrip()}")

    # --- the loops -------------------------------------------------------------------------------

    async def search(self, features: str, queries: int, whole: bool) -> None:
        more = ["--min-coverage", 1] if whole else []
        began = time.monotonic()
        code, out, err = await self.c.vitrine(*self.search_words(features, K), *more)
        took = time.monotonic() - began
        if queries == 1:
            self.counts.slowest_s = max(self.counts.slowest_s, took)
        self.judge(queries, code, out, err, whole)

    async def search_on(self, features: str, queries: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.search(features, queries, self.c.o.replicas > 1)

    async def probe(self) -> None:
        """One query, which must be answered wholly."""
        await self.search(self.one, 1, True)

    async def evaluate(self) -> str:
        o = self.c.o
        return await self.must("eval", "--connect", self.c.endpoint, "--features", o.query,
                               "--meta", o.labels, "--json", "-",
                               "--journal", os.path.join(self.c.folder, "eval.journal"))

    async def evaluate_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            code, out, err = 0, "", ""
            try:
                out = await self.evaluate()
            except SystemExit as e:
                code, err = 1, str(e)
            self.counts.evaluations += 1
            self.counts.failed += code != 0
            self.counts.wrong += code == 0 and out != self.figures
            if code or out != self.figures:
                self.say(f"an evaluation {'failed: ' + err if code else 'came out as ' + out}")

    def start(self, stop: asyncio.Event) -> list[asyncio.Task]:
        all_queries = len(self.hits)
        loops = [self.search_on(self.c.o.query, all_queries, stop),
                 self.search_on(self.c.o.query, all_queries, stop),
                 self.search_on(self.one, 1, stop), self.evaluate_on(stop)]
        return [asyncio.ensure_future(loop) for loop in loops]
