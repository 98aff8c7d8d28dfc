"""Servers in processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

from tests.interpreter.cli.conftest import save

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "interpreter/cli/_demo"


class Server:
    """``onnxwalk serve`` with these arguments, until the ``with`` block ends."""

    def __init__(self, *argv: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interpreter", "serve", *map(str, argv), "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout and self.process.stderr
        self.shown = []
        for line in self.process.stdout:
            self.shown.append(line.rstrip("\n"))
            if line.startswith("serving"):
                break
        else:
            raise AssertionError(self.process.stderr.read())
        self.host, _, port = self.shown[0].split("/")[2].rpartition(":")
        self.port = int(port)

    def request(self, method, path, body=b"", headers=(), timeout=60):
        """Status, headers and body of an answer; JSON is read."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, answer.headers, json.loads(content) if is_json else content

    def infer(self, model, request, **more):
        """Status and answer of a request in JSON."""
        body = json.dumps(request).encode()
        status, _, answer = self.request("POST", f"/v2/models/{model}/infer", body, **more)
        return status, answer

    def stop(self) -> tuple[int, str, str]:
        """Exit status, and what else was printed."""
        if self.process.poll() is None:
            self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture(scope="session")
def serve():
    """A server for some arguments; all end with the tests, and have printed no error."""
    running = []

    def start(*argv: object) -> Server:
        running.append(Server(*argv))
        return running[-1]

    yield start
    for server in running:
        if server.process.returncode is None:
            assert server.stop() == (0, "", "")


def same(path, datatypes) -> str:
    """A model whose outputs are its inputs: x of the first type, x1 of the second …"""
    names = [f"x{i or ''}" for i in range(len(datatypes))]
    nodes = [helper.make_node("Identity", [x], [f"same_{x}"]) for x in names]
    inputs = [(x, t, ["n", "m"]) for x, t in zip(names, datatypes, strict=True)]
    outputs = [(f"same_{x}", t, ["n", "m"]) for x, t in zip(names, datatypes, strict=True)]
    return save(path, nodes, inputs, outputs, opset=22)


def counting(path) -> str:
    """count (1) -> total (1): how many iterations a loop has had, some 50 µs each."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["sum", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", T.INT64, []),
            helper.make_tensor_value_info("go", T.BOOL, []),
            helper.make_tensor_value_info("sum", T.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("on", T.BOOL, []),
            helper.make_tensor_value_info("next", T.INT64, [1]),
        ],
    )
    nodes = [
        helper.make_node("Squeeze", ["count"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "zero"], ["total"], body=body),
    ]
    constants = {"zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64)}
    types = [("count", T.INT64, [1])], [("total", T.INT64, [1])]
    return save(path, nodes, *types, constants)
