#!/usr/bin/env python3
"""Benchmarks of remotes that bench.py lacks: an S3 server on loopback, seen from 20 ms away.

    remote.py [WORKLOAD ...] --lockstep PATH [--scale F] [--runs N] [--latency MS] [--json OUT]

The server is s3s-fs, started by `.ci/servers` with a store of its own. Whoever is timed talks to it through the proxy of
the remote tests, which adds the latency to each request and counts them; lockstep and the yardstick take turns. Every
run writes to a fresh prefix, and nothing is deleted before the end. What was pushed is pulled into a clone afterwards,
untimed, and compared.

Needs git, rustc, what `.ci/servers install s3` needs and, for push-s3, rclone on the PATH.

Workloads (N scales with --scale):
  push-s3   a 100,000 x 1-KiB output pushed. yardstick: `rclone copy --transfers 32` of the same files. Then the
            requests of a push and a pull that have nothing to do
  big-s3    one 4-GiB output pushed and pulled, without latency: the peak memory of each
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import bench
from bench import ENV, Tool, same, sh, timed, write_tree

ROOT = Path(__file__).resolve().parent.parent
for name in [n for n in ENV if n.startswith(("AWS_", "RCLONE_")) or n.lower().endswith("_proxy")]:
    del ENV[name]                                             # loopback alone, and nothing of the user's


class Proxy:
    """In front of a port; counts requests."""
    program = None

    def __init__(self, scratch, port, latency):
        if not Proxy.program:
            Proxy.program = str(scratch / "delay")
            sh(["rustc", "-O", "--edition", "2024", "-o", Proxy.program, str(ROOT / "benches/remote/delay.rs")], scratch)
        self.process = subprocess.Popen([Proxy.program, str(port), str(latency)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def requests(self):
        self.process.stdin.write("\n"); self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close(); self.process.wait()


class Server:
    def __init__(self, scratch):
        self.dir = str(scratch / "servers")
        sh([str(ROOT / ".ci/servers"), "install", "s3"], scratch)
        sh([str(ROOT / ".ci/servers"), "up", self.dir, "s3"], scratch)
        [self.remote] = json.loads(Path(self.dir, "remotes.json").read_text())
        ENV.update(self.remote["env"])

    def close(self):
        sh([str(ROOT / ".ci/servers"), "down", self.dir], "/")


def project(tool, where, url, port, make):
    """A repository whose one stage output is what `make` wrote, stored and committed; its remote is at the port."""
    where.mkdir()
    sh(["git", "init", "-q"], where)
    make(where / "out")
    (where / "pipeline.yaml").write_text("stages:\n  make:\n    cmd: 'true'\n    outs:\n    - out:\n        persist: true\n")
    sh(tool("repro"), where)
    sh("git add -A && git commit -qm x", where)
    aim(tool, where, url, port)
    return where


def aim(tool, where, url, port):
    sh(tool("remote", "add", "--local", "--force", "-d", "store", url), where)
    sh(tool("remote", "modify", "--local", "store", "endpoint_url", f"http://127.0.0.1:{port}"), where)
    sh(tool("remote", "modify", "--local", "store", "region", "us-east-1"), where)


def pulled(tool, work, where, url, port):
    """A clone with everything; what is wrong with it, if anything."""
    sh(["git", "clone", "-q", str(work), str(where)], work)
    aim(tool, where, url, port)
    sh(tool("pull"), where)
    return same(work / "out", where / "out")


def show(label, times, base=None, note=""):
    seconds = [t for t, _ in times]
    median = statistics.median(seconds)
    row = {"median": median, "min": min(seconds), "max": max(seconds), "rss": max(r for _, r in times),
           "ratio": median / base if base else 1.0}
    print(f"{label:<24} {median:9.3f} {row['min']:8.3f} {row['max']:8.3f} {row['rss']:8.0f} {row['ratio']:11.3f}x  {note}", flush=True)
    return row


def push_s3(tool, server, scratch, scale, runs, latency):
    files, url = int(100_000 * scale), server.remote["url"]
    proxy = Proxy(scratch, server.remote["port"], latency)
    work = project(tool, scratch / "work", f"{url}/start", proxy.port, lambda out: write_tree(out, files))
    rclone = ["rclone", "--config", "/dev/null", "--s3-provider", "Other", "--s3-env-auth", "--s3-region", "us-east-1",
              "--s3-endpoint", f"http://127.0.0.1:{proxy.port}", "copy", "--transfers", "32", str(work / "out")]
    bucket, times, requests = url.removeprefix("s3://"), {"rclone": [], "lockstep": []}, {}
    for n in range(runs):
        aim(tool, work, f"{url}/lockstep-{n}", proxy.port)
        for name, cmd in [("rclone", [*rclone, f":s3:{bucket}/rclone-{n}"]), ("lockstep", tool("push"))]:
            os.sync()
            proxy.requests()
            times[name].append(timed(cmd, work))
            requests[name] = proxy.requests()
    rows = {"rclone": show("push-s3/rclone", times["rclone"], None, f"{requests['rclone']} requests")}
    rows["lockstep"] = show("push-s3/lockstep", times["lockstep"], rows["rclone"]["median"], f"{requests['lockstep']} requests")
    idle = {}
    wrong = pulled(tool, work, scratch / "clone", f"{url}/lockstep-{runs - 1}", proxy.port)
    for verb, where in [("push", work), ("pull", scratch / "clone")]:
        proxy.requests()
        sh(tool(verb), where)
        idle[verb] = proxy.requests()
    print(f"  with nothing to do: push {idle['push']}, pull {idle['pull']} requests" + (f"  WRONG: {wrong}" if wrong else ""))
    proxy.close()
    return {**rows, "requests": requests, "idle": idle, "wrong": wrong}


def big_s3(tool, server, scratch, scale, runs, latency):
    def make(out):
        block = os.urandom(1 << 20)
        with open(out, "wb") as f:
            for i in range(max(1, int(4096 * scale))):
                f.write(b"%012d" % i + block[12:])
    url, port = server.remote["url"], server.remote["port"]
    work = project(tool, scratch / "big", f"{url}/big", port, make)
    push = show("big-s3/push", [timed(tool("push"), work)])
    clone = scratch / "big-clone"
    sh(["git", "clone", "-q", str(work), str(clone)], work)
    aim(tool, clone, f"{url}/big", port)
    pull = show("big-s3/pull", [timed(tool("pull"), clone)])
    wrong = same(work / "out", clone / "out")
    if wrong:
        print(f"  WRONG: {wrong}")
    return {"push": push, "pull": pull, "wrong": wrong}


WORKLOADS = {"push-s3": push_s3, "big-s3": big_s3}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    ap.add_argument("--lockstep", required=True); ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--runs", type=int, default=3); ap.add_argument("--latency", type=int, default=20)
    ap.add_argument("--json"); ap.add_argument("--scratch")
    a = ap.parse_args()
    tool = Tool("lockstep", os.path.abspath(a.lockstep), "pipeline.yaml")
    print(f"{'workload':<24} {'median s':>9} {'min':>8} {'max':>8} {'RSS MiB':>8} {'x yardstick':>12}", flush=True)
    results = {}
    for name in a.workloads or WORKLOADS:
        scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=a.scratch))
        server = Server(scratch)
        try:
            results[name] = WORKLOADS[name](tool, server, scratch, a.scale, a.runs, a.latency)
        finally:
            server.close()
            shutil.rmtree(scratch, ignore_errors=True)
    if a.json:
        Path(a.json).write_text(json.dumps(results, indent=1))
    sys.exit(any(r["wrong"] for r in results.values()))


if __name__ == "__main__":
    main()
