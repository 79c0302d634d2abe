"""What the benchmarks written in Python share: programs run, and what they took of the machine."""
import os
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


def stop(text, code=1):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr)
    sys.exit(code)


def output(words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, **more)
    if done.returncode:
        stop(f"{' '.join(words[:2])} ended with {done.returncode}")
    return done.stdout


def proc(pid, file):
    with open(f"/proc/{pid}/{file}", encoding="utf-8") as f:
        return f.read()


def spent(pid):
    """Of a process so far: processor seconds, bytes that it had read from disk, and how often it
    waited for a page from there."""
    fields = proc(pid, "stat").rsplit(")", 1)[1].split()
    io = dict(line.split(": ") for line in proc(pid, "io").splitlines())
    return (int(fields[11]) + int(fields[12])) / TICK, int(io["read_bytes"]), int(fields[9])


def wait_ready(vitrine, endpoint, check, seconds=600):
    """Until the cluster serves every shard; how long that took. `check` is called meanwhile, and
    stops what has no hope."""
    begin = time.monotonic()
    while subprocess.run([vitrine, "status", "--ready", "--connect", endpoint],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        check()
        if time.monotonic() - begin > seconds:
            stop(f"the cluster was not ready after {seconds} seconds")
        time.sleep(0.05)
    return time.monotonic() - begin


def disk_read_rate(paths):
    """Bytes a second that the disk gives past the page cache, read in order; 0: not known."""
    size, begin = 0, time.monotonic()
    for path in paths:
        if subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M", "iflag=direct",
                           "status=none"], stderr=subprocess.DEVNULL).returncode:
            return 0
        size += os.path.getsize(path)
    return size / (time.monotonic() - begin)
