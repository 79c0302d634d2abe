"""A coordinator and workers as real processes, each worker behind a relay that can be cut.

A worker dials its relay, a port of this process that passes bytes on to the coordinator. While a
direction is cut nothing passes that way, the end of a connection neither; what was sent meanwhile
comes when it is healed, late, as over a real network.
"""
from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket

TO_COORDINATOR, TO_WORKER = "to the coordinator", "to the worker"
HEAL_S = 60  # after it, a cluster that is not whole will not become so
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Broken(Exception):
    """The cluster did what it must not do."""


def die_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def run(*words: object) -> tuple[int, str, str]:
    """A command, until it ends: exit code, stdout, stderr."""
    p = await asyncio.create_subprocess_exec(
        *map(str, words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        out, err = await p.communicate()
    except asyncio.CancelledError:
        if p.returncode is None:
            p.kill()
        raise
    return p.returncode, out.decode(), err.decode()


class Relay:
    """Passes connections on to the coordinator, where it is not cut."""

    def __init__(self, target: int):
        self.target = target
        self.port = 0
        self.open = {TO_COORDINATOR: asyncio.Event(), TO_WORKER: asyncio.Event()}
        self.heal()

    async def start(self) -> None:
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def cut(self, *directions: str) -> None:
        for d in directions:
            self.open[d].clear()

    def heal(self) -> None:
        for event in self.open.values():
            event.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # all ends; Python 3.11 would make noise of it

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for event in self.open.values():
                await event.wait()
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(TO_COORDINATOR, reader, up_writer),
                             self.pump(TO_WORKER, up_reader, writer))

    async def pump(self, direction: str, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self.open[direction].wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        await self.open[direction].wait()
        writer.close()


class Process:
    """One server: its command line, the process that runs it now, its log over all its lives."""

    def __init__(self, name: str, log: str, words: list[object]):
        self.name, self.log, self.words = name, log, [str(w) for w in words]
        self.child: asyncio.subprocess.Process | None = None
        self.begins = 0  # where in the log this life begins

    async def start(self, sign: str) -> None:
        """Starts it and waits until its log holds `sign`."""
        with open(self.log, "ab") as log:
            self.begins = log.tell()
            self.child = await asyncio.create_subprocess_exec(
                *self.words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent)
        for _ in range(HEAL_S * 50):
            if sign in self.said():
                return
            self.check()
            await asyncio.sleep(0.02)
        raise Broken(f"{self.name} has not said {sign}")

    def said(self) -> str:
        with open(self.log, "rb") as log:
            log.seek(self.begins)
            return log.read().decode()

    def check(self) -> None:
        if self.child is None or self.child.returncode is not None:
            raise Broken(f"{self.name} ended by itself: its log is {self.log}")

    def signal(self, number: int) -> None:
        self.check()
        self.child.send_signal(number)

    async def end(self, number: int) -> None:
        """Ends it with SIGKILL, or with SIGTERM and exit code 0."""
        self.signal(number)
        code = await asyncio.wait_for(self.child.wait(), HEAL_S)
        self.child = None
        if code != (-number if number == signal.SIGKILL else 0):
            raise Broken(f"{self.name} ended with {code} on signal {number}: its log is {self.log}")

    async def ended(self) -> None:
        """Waits until it ends by itself, with exit code 0."""
        code = await asyncio.wait_for(self.child.wait(), HEAL_S)
        self.child = None
        if code != 0:
            raise Broken(f"{self.name} ended with {code}: its log is {self.log}")


class Cluster:
    """`workers` workers over which a coordinator places `shards` shards, each `replicas` times. The
    first has the imported gallery, the others begin with empty folders."""

    def __init__(self, options, folder: str):
        self.o, self.folder = options, folder
        self.bin = options.bin
        self.gallery = os.path.join(folder, "gallery")
        self.port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.coordinator = self.process("coordinator", [
            os.path.join(self.bin, "vitrine-coordinator"), "--listen", self.endpoint,
            "--heartbeat-ms", options.heartbeat_ms, "--dead-after-ms", options.dead_after_ms,
            "--state", os.path.join(folder, "map"), "--replicas", options.replicas])
        self.workers: list[Process] = []
        self.relays: list[Relay] = []

    def process(self, name: str, words: list[object]) -> Process:
        return Process(name, os.path.join(self.folder, f"{name}.log"), words)

    def worker(self, name: str, port: int, gallery: str, *more: object) -> Process:
        return self.process(name, [
            os.path.join(self.bin, "vitrine-worker"), "--connect", f"tcp://127.0.0.1:{port}",
            "--gallery", gallery, "--node", name, "--threads", 1, *more])

    def store(self, name: str) -> str:
        return os.path.join(self.folder, f"store-{name}")

    def vitrine(self, *words: object):
        return run(os.path.join(self.bin, "vitrine"), *words)

    async def start(self) -> None:
        await self.coordinator.start("event=listening")
        for w in range(self.o.workers):
            relay = Relay(self.port)
            await relay.start()
            self.relays.append(relay)
            gallery = self.store(f"w{w}") if w > 0 else self.gallery
            self.workers.append(self.worker(f"w{w}", relay.port, gallery))
            await self.workers[-1].start("event=welcome")
        await self.whole()

    async def whole(self) -> None:
        """Waits until status shows every worker, and every shard where it should be."""
        for _ in range(HEAL_S * 20):
            self.check()
            code, out, _ = await self.vitrine("status", "--connect", self.endpoint, "--json")
            if code == 0:
                status = json.loads(out)
                ready = {w["node"] for w in status["workers"] if w["state"] == "ready"}
                moving = sum(w["moving"] for w in status["workers"])
                least = min(self.o.replicas, len(ready))
                held = sum(w["shards"] for w in status["workers"])
                if (ready == {w.name for w in self.workers} and moving == 0
                        and status["shards_whole"] == self.o.shards
                        and held == least * self.o.shards):
                    return
            await asyncio.sleep(0.05)
        raise Broken("the cluster has not become whole again")

    def check(self) -> None:
        for p in [self.coordinator, *self.workers]:
            p.check()

    async def stop(self) -> None:
        for p in [self.coordinator, *self.workers]:
            if p.child and p.child.returncode is None:
                p.child.kill()
                await p.child.wait()
