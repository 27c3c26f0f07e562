#!/usr/bin/env python3
"""`lockstep serve` beside FastAPI with onnxruntime, beside MLServer, and beside itself, with wrk, in one run.

    serve.py --lockstep PATH --python PYTHON [--mlserver PATH] [--rounds N] [--seconds S]

PYTHON has fastapi, uvicorn, onnxruntime, scikit-learn and skl2onnx (and joblib for MLServer, whose `mlserver` has
mlserver-sklearn). All serve the same logistic regression of 64 features in JSON. The servers take turns (A B A B ...), and
medians are printed as ratios: absolute numbers mean little on a shared machine. Needs wrk on the PATH.
"""
import argparse, json, os, re, socket, statistics, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

FASTAPI = '''
import os
import numpy as np, onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]
class Request(BaseModel):
    inputs: list[Tensor]
app = FastAPI()
@app.post("/v2/models/m/infer")
def infer(request: Request):
    tensor = request.inputs[0]
    found = session.run(None, {tensor.name: np.array(tensor.data, np.float32).reshape(tensor.shape)})
    outputs = [{"name": o.name, "shape": list(v.shape), "data": v.ravel().tolist()} for o, v in zip(session.get_outputs(), found)]
    return {"model_name": "m", "outputs": outputs}
@app.get("/v2/health/ready")
def ready():
    return {}
'''
TRAIN = '''
import sys, json, joblib, numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from skl2onnx import to_onnx
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
model = LogisticRegression(max_iter=500).fit(X, y)
folder = sys.argv[1]
open(f"{folder}/m.onnx", "wb").write(to_onnx(model, X[:1], options={"zipmap": False}).SerializeToString())
joblib.dump(model, f"{folder}/m.joblib")
body = {"inputs": [{"name": "X", "shape": [1, 64], "datatype": "FP32", "data": X[0].tolist()}]}
open(f"{folder}/body.json", "w").write(json.dumps(body))
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command, port, cwd, env=None):
        self.port, started = port, time.perf_counter()
        self.log = open(Path(cwd) / f"log-{port}", "w")
        self.process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=self.log, stderr=self.log)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1).read()
                break
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - started > 60:
                    sys.exit(f"{command} does not start: {self.log.name}")
                time.sleep(0.01)
        self.start_seconds = time.perf_counter() - started

    def stop(self):
        self.process.kill()
        self.process.wait()


def wrk(folder, port, connections, seconds, script, path="/v2/models/m/infer"):
    """Requests per second, p50 and p99 in microseconds, answers that were not 200."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, f"http://127.0.0.1:{port}{path}"],
                         cwd=folder, capture_output=True, text=True, check=True).stdout
    unit = {"us": 1, "ms": 1e3, "s": 1e6}
    percent = {p: float(v) * unit[u] for p, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", out)}
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    lost = re.search(r"Socket errors: (.*)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), percent["50"], percent["99"], (int(bad[1]) if bad else 0, lost[1] if lost else "")


def script_of(folder, name, body, headers):
    (folder / f"{name}.body").write_bytes(body)
    lines = [f'wrk.headers["{k}"] = "{v}"' for k, v in headers.items()]
    text = 'wrk.method = "POST"\n' + "\n".join(lines) + f'\nlocal f = io.open("{folder}/{name}.body", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
    (folder / f"{name}.lua").write_text(text)
    return f"{name}.lua"


def median(values):
    return statistics.median(values)


def throughput(arguments, folder, servers):
    script = script_of(folder, "json", (folder / "body.json").read_bytes(), {"Content-Type": "application/json"})
    results = {name: [] for name in servers}
    for _ in range(arguments.rounds):
        for name, server in servers.items():
            rate, p50, p99, bad = wrk(folder, server.port, 64, arguments.seconds, script)
            results[name].append((rate, p50, p99))
            if name == "lockstep" and bad != (0, ""):
                sys.exit(f"lost answers: {bad}")
    rates = {name: median([r[0] for r in rows]) for name, rows in results.items()}
    for name, rate in rates.items():
        print(f"64 connections: {name:9} {rate:9.0f} req/s, lockstep has {rates['lockstep'] / rate:6.1f} x; "
              f"start to ready {servers[name].start_seconds:.2f} s")
    single = [wrk(folder, servers["lockstep"].port, 1, arguments.seconds, script)[1] for _ in range(arguments.rounds)]
    bare = json.loads(subprocess.run([arguments.lockstep, "serve", "m.onnx", "--once", "body.json", "--repeat", "20000", "--json"],
                                     cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    print(f"1 connection: p50 {median(single):.0f} us, bare loop {bare['p50_us']:.1f} us, difference {median(single) - bare['p50_us']:.0f} us (bar: 60)")


def release(folder, name, model):
    to = folder / "deployed/releases" / name
    to.mkdir(parents=True)
    (to / "m.onnx").write_bytes(model)
    digest = subprocess.run(["b3sum", "--no-names", str(to / "m.onnx")], capture_output=True, text=True, check=True).stdout.strip()
    file = {"path": "m.onnx", "blake3": digest, "sha256": "0" * 64, "size": len(model), "mode": "0444"}
    manifest = {"lockstep": 1, "name": "m", "version": name, "commit": None, "repository": None, "path": "m.onnx",
                "blake3": digest, "size": len(model), "format": "onnx", "files": [file]}
    (to / "lockstep.json").write_text(json.dumps(manifest))


def point(folder, name):
    link = folder / "deployed/.current.new"
    link.symlink_to(f"releases/{name}")
    os.replace(link, folder / "deployed/current")


def switches(arguments, folder):
    model = (folder / "m.onnx").read_bytes()
    for name in ("v1", "v2"):
        release(folder, name, model)
    point(folder, "v1")
    port = free_port()
    server = Server([arguments.lockstep, "serve", "deployed", "--listen", f"127.0.0.1:{port}", "--follow", "50ms"], port, folder)
    quiet, switching = [], []
    for _ in range(arguments.rounds):
        quiet.append(wrk(folder, port, 64, 4, "json.lua")[2])
        load = subprocess.Popen([sys.executable, __file__, "--switch", str(folder)])
        *_, p99, bad = wrk(folder, port, 64, 4, "json.lua")
        load.wait()
        switching.append(p99)
        if bad != (0, ""):
            sys.exit(f"lost answers in switches: {bad}")
    server.stop()
    print(f"p99 during a switch each 400 ms: {median(switching) / median(quiet):.2f} x of {median(quiet) / 1000:.1f} ms (bar: 1.5); none lost")


def images(arguments, folder):
    """1 x 3 x 224 x 224 floats: JSON and binary, to a model that returns their mean."""
    code = ("import onnx,sys;from onnx import helper as h,TensorProto as T;"
            "v=h.make_tensor_value_info;g=h.make_graph([h.make_node('ReduceMean',['X'],['Y'],keepdims=0)],'m',"
            "[v('X',T.FLOAT,[1,3,224,224])],[v('Y',T.FLOAT,[])]);"
            "open(sys.argv[1],'wb').write(h.make_model(g,opset_imports=[h.make_opsetid('',17)],ir_version=8).SerializeToString())")
    subprocess.run([arguments.python, "-c", code, str(folder / "mean.onnx")], check=True)
    count = 3 * 224 * 224
    tensor = {"name": "X", "shape": [1, 3, 224, 224], "datatype": "FP32"}
    text = json.dumps({"inputs": [{**tensor, "data": [round(n % 255 / 255, 6) for n in range(count)]}]}).encode()
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 4 * count}}], "parameters": {"binary_data_output": True}}).encode()
    as_json = script_of(folder, "image", text, {"Content-Type": "application/json"})
    binary = script_of(folder, "binary", head + bytes(4 * count),
                       {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": len(head)})
    port = free_port()
    server = Server([arguments.lockstep, "serve", "mean.onnx", "--listen", f"127.0.0.1:{port}"], port, folder)
    rates = {name: median([wrk(folder, port, 8, arguments.seconds, script, "/v2/models/mean/infer")[0] for _ in range(arguments.rounds)])
             for name, script in [("json", as_json), ("binary", binary)]}
    server.stop()
    print(f"image of 600 kB: binary has {rates['binary'] / rates['json']:.1f} x the requests of JSON (bar: 10)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lockstep"), parser.add_argument("--python"), parser.add_argument("--mlserver")
    parser.add_argument("--rounds", type=int, default=5), parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--switch", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.switch:
        for n in range(9):
            point(Path(arguments.switch), ("v2", "v1")[n % 2])
            time.sleep(0.4)
        return
    arguments.lockstep = str(Path(arguments.lockstep).resolve())
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as name:
        folder = Path(name)
        subprocess.run([arguments.python, "-c", TRAIN, name], check=True)
        (folder / "app.py").write_text(FASTAPI)
        ports = [free_port() for _ in range(3)]
        servers = {
            "lockstep": Server([arguments.lockstep, "serve", "m.onnx", "--listen", f"127.0.0.1:{ports[0]}"], ports[0], folder),
            "FastAPI": Server([arguments.python, "-m", "uvicorn", "app:app", "--port", str(ports[1]), "--log-level", "warning"],
                              ports[1], folder, {"MODEL": str(folder / "m.onnx")}),
        }
        if arguments.mlserver:
            ml = folder / "mlserver"
            ml.mkdir()
            (folder / "m.joblib").rename(ml / "m.joblib")
            settings = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./m.joblib"}}
            (ml / "model-settings.json").write_text(json.dumps(settings))
            (ml / "settings.json").write_text(json.dumps({"http_port": ports[2], "grpc_port": free_port(), "metrics_port": free_port(), "debug": False}))
            servers["MLServer"] = Server([arguments.mlserver, "start", "."], ports[2], ml)
        throughput(arguments, folder, servers)
        for server in servers.values():
            server.stop()
        switches(arguments, folder)
        images(arguments, folder)


main()
