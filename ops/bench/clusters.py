"""A cluster of real processes for the benchmarks: a coordinator and workers, placed on processors."""
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import threading
import time
import typing

from processes import output, proc, spent, stop, wait_ready


def write(path, value):
    with open(path, "r+", encoding="ascii") as f:  # a control group's file is there, or no group is
        f.write(f"{value}\n")


def write_all(path, files):
    for file, value in files.items():
        write(f"{path}/{file}", value)


def limit_group(path, limits):
    """Gives a control group other limits, of the kind that it was made with."""
    write_all(path, dict(limits)[os.path.dirname(path)])


def processor_limit(part):
    """For make_group, limit_group: so much of a processor, given anew every hundredth of a
    second."""
    period_us = 10000
    quota_us = int(part * period_us)
    return [("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": period_us, "cpu.cfs_quota_us": quota_us}),
            ("/sys/fs/cgroup", {"cpu.max": f"{quota_us} {period_us}"})]


def make_group(limits, name=""):
    """A new control group with these limits: the place and the files to write, for version 1 and 2.
    None where there can be none. Whoever made it removes it, once nobody lives there."""
    for root, files in limits:
        path = f"{root}/vitrine-bench-{os.getpid()}{name}"
        try:
            os.mkdir(path)
            write_all(path, files)
            return path
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(path)
    return None


class Place(typing.NamedTuple):
    """Where a process lives: in a control group, and on some processors; by default, anywhere."""
    group: typing.Optional[str] = None
    processors: typing.Optional[frozenset] = None

    def enter(self):
        """For preexec_fn."""
        if self.group:
            write(f"{self.group}/cgroup.procs", os.getpid())
        if self.processors:
            os.sched_setaffinity(0, self.processors)


def enter(place, libc=ctypes.CDLL(None)):
    """For preexec_fn: a child that lives there, and no longer than its parent."""
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    place.enter()


class Worker(typing.NamedTuple):
    """One to be started."""
    threads: int = 1
    place: Place = Place()
    shards: str = ""  # as --shards has it; "": all


class Cluster:
    """A coordinator and these workers, who serve `gallery` (default: the one of a single shard).
    The coordinator and the clients live at `rest`. Two clusters that live at the same time have
    different names."""

    def __init__(self, a, workers, gallery=None, rest=Place(), name="socket"):
        self.a, self.workers, self.endpoint = a, workers, f"ipc://{a.dir}/{name}"
        self.rest = rest
        self.children = [subprocess.Popen(
            [f"{a.bin}/vitrine-coordinator", "--listen", self.endpoint],
            stderr=subprocess.DEVNULL, preexec_fn=lambda: enter(rest))]
        for i, w in enumerate(workers):
            self.children.append(subprocess.Popen(
                [f"{a.bin}/vitrine-worker", "--connect", self.endpoint, "--gallery",
                 gallery or a.gallery, "--node", f"w{i}", "--threads", str(w.threads),
                 *(["--shards", w.shards] if w.shards else [])],
                stderr=subprocess.DEVNULL, preexec_fn=lambda w=w: enter(w.place)))
        self.client = None

    def __enter__(self):
        try:
            wait_ready(f"{self.a.bin}/vitrine", self.endpoint, self.check)
            while self.joined() < len(self.workers):
                self.check()
                time.sleep(0.05)
            self.ask(2, "--window", "2")  # blocks are verified, pages mapped
        except BaseException:
            self.__exit__()
            raise
        return self

    def joined(self):
        status = json.loads(output([f"{self.a.bin}/vitrine", "status", "--json", "--connect",
                                    self.endpoint]))
        return len(status["workers"])

    def check(self):
        """Stops the benchmark if one of the processes has ended, a client that asks included."""
        names = ["the coordinator", *(f"worker w{i}" for i in range(len(self.workers))),
                 "the client"]
        for name, child in zip(names, [*self.children, self.client]):
            if child and child.poll() is not None:
                stop(f"{name} ended with {child.returncode}")

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
            child.send_signal(signal.SIGCONT)  # it may have been stopped
            child.wait()

    def waited(self):
        """Seconds that the compute threads were ready to run and did not; 0 where the kernel does
        not say."""
        total = 0
        if not os.path.exists("/proc/self/schedstat"):
            return total
        for child, worker in zip(self.children[1:], self.workers):
            seconds = []
            for task in os.listdir(f"/proc/{child.pid}/task"):
                ran, waited, _ = proc(child.pid, f"task/{task}/schedstat").split()
                seconds.append((int(ran) / 1e9, int(waited) / 1e9))
            total += sum(waited for _, waited in sorted(seconds)[-worker.threads:])
        return total

    def spent(self):
        """What the workers took: processor seconds, bytes read from disk, pages waited for."""
        return [sum(x) for x in zip(*(spent(child.pid) for child in self.children[1:]))]

    @contextlib.contextmanager
    def asking(self, *words):
        """Queries without end, by bench/clients: a list that grows by one with each answer."""
        answers = []
        self.client = client = subprocess.Popen(
            [f"{self.a.bench}/clients", "--connect", self.endpoint, "--features", self.a.queries,
             "--queries", "100000", "--tell", *words], stdout=subprocess.PIPE,
            preexec_fn=lambda: enter(self.rest))
        reader = threading.Thread(target=lambda: answers.extend(client.stdout))
        reader.start()
        try:
            yield answers
            self.check()
        finally:
            self.client = None
            client.terminate()
            client.wait()
            reader.join()
            client.stdout.close()

    def ask(self, queries, *words):
        """Queries by bench/clients: its figures, and what they took of processors and disk."""
        before, waited = self.spent(), self.waited()
        r = json.loads(output([f"{self.a.bench}/clients", "--connect", self.endpoint, "--features",
                               self.a.queries, "--queries", str(queries), *words],
                              preexec_fn=lambda: enter(self.rest)))
        cpu_s, r["read_bytes"], r["faults"] = (
            after - b for after, b in zip(self.spent(), before))
        r["processors"], r["cpu_of_a_pair"] = cpu_s / r["seconds"], cpu_s / queries
        threads = sum(w.threads for w in self.workers)
        waited = (self.waited() - waited) / threads
        r["unshared"], r["waited"] = queries / (r["seconds"] - waited), waited / r["seconds"]
        return r
