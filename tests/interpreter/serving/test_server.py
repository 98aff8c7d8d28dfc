"""``onnxwalk serve`` under load, with bad input, with clients that leave, and told to stop."""

import contextlib
import gzip
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto as T

import onnxwalk
from tests.interpreter.serving.conftest import DEMO, counting, same

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    counting(folder / "counting.onnx")
    same(folder / "same.onnx", [T.FLOAT])
    return folder


@pytest.fixture(scope="module")
def server(serve, folder):
    return serve(
        DEMO / "digits.onnx", folder / "same.onnx", folder / "counting.onnx",
        "--batch-size", 32, "--max-body", "100kB", "--body-seconds", 2,
    )  # fmt: skip


def images(rows, seed):
    return np.random.default_rng(seed).uniform(0, 255, (rows, 8, 8, 1)).astype(np.float32)


def in_binary(name, array, output):
    entry = {"name": name, "shape": array.shape, "datatype": "FP32"}
    entry["parameters"] = {"binary_data_size": array.nbytes}
    outputs = [{"name": output, "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [entry], "outputs": outputs}).encode()
    return header + array.tobytes(), {LENGTH: str(len(header))}


def count(n):
    return {"inputs": [{"name": "count", "shape": [1], "datatype": "INT64", "data": [n]}]}


@pytest.mark.parametrize(("model", "atol"), [("digits", 1e-4), ("same", 0)])
def test_hundreds_at_once_get_their_own_answers(server, model, atol):
    expected = onnxwalk.load(DEMO / "digits.onnx") if atol else lambda x: x
    names = ("image", "dense_1") if atol else ("x", "same_x")

    def one(seed):
        x = images(1 + seed % 4, seed) if atol else images(1 + seed % 4, seed).reshape(-1, 8)
        body, headers = in_binary(names[0], x, names[1])
        path = f"/v2/models/{model}/infer"
        status, headers, content = server.request("POST", path, body, headers.items())
        assert status == 200
        y = np.frombuffer(content[int(headers[LENGTH]) :], np.float32)
        np.testing.assert_allclose(y.reshape(len(x), -1), expected(x), rtol=0, atol=atol)

    with ThreadPoolExecutor(300) as pool:
        for job in [pool.submit(one, seed) for seed in range(500)]:
            job.result()


INPUT = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
BAD = [
    (b"", "the request is not JSON"),
    (b"\xff", "the request is not JSON"),
    (b"[" * 50_000, "nested too deeply"),
    (b"[]", "the request must be a JSON object"),
    ({"input": []}, "unknown field 'input'; did you mean 'inputs'?"),
    ({"inputs": 1}, "inputs must be a list"),
    ({"inputs": [1]}, "an input must be a JSON object"),
    ({"inputs": []}, "missing: input x: float32[n, m]"),
    ({"inputs": [{**INPUT, "name": 1}]}, "no input is named 1"),
    ({"inputs": [{**INPUT, "name": ["x"]}]}, "no input is named ['x']"),
    ({"inputs": [{**INPUT, "shape": [2, 1]}]}, "isn't [2, 1]"),
    ({"inputs": [{**INPUT, "datatype": "FP64"}]}, "input 'x' is FP32, got FP64"),
    ({"inputs": [{**INPUT, "data": ["y"]}]}, '"y" is not a value of FP32'),
    ({"inputs": [{**INPUT, "parameters": {"binary_data_size": 4}}]}, "has both data and"),
    ({"inputs": [INPUT], "id": 1}, "id must be a string"),
    ({"inputs": [INPUT], "outputs": [{"name": "y"}]}, "no output is named 'y'"),
    ({"inputs": [INPUT], "outputs": [{"name": "same_x"}] * 2}, "was requested twice"),
    ({"inputs": [INPUT], "parameters": {"timeout": -1}}, "timeout must be an integer from 0"),
    ({"inputs": [INPUT], "parameters": []}, "parameters must be a JSON object"),
]


@pytest.mark.parametrize(("request_body", "message"), BAD, ids=[m[:20] for _, m in BAD])
def test_bad_requests(server, request_body, message):
    body = request_body if isinstance(request_body, bytes) else json.dumps(request_body).encode()
    status, _, answer = server.request("POST", "/v2/models/same/infer", body)
    assert status == 400 and message in answer["error"] and "\n" not in answer["error"]
    assert server.infer("same", {"inputs": [INPUT]})[0] == 200


def test_bad_binary_parts(server):
    body, headers = in_binary("x", np.ones((2, 2), np.float32), "same_x")

    def send(body, length):
        return server.request("POST", "/v2/models/same/infer", body, {LENGTH: length}.items())

    length = headers[LENGTH]
    assert send(body, length)[0] == 200
    for wrong, given, message in (
        (body[:-1], length, "15 bytes are left"),
        (body + b"1", length, "1 bytes of the body belong to no input"),
        (body, "99999", "must be a number up to"),
        (body, "-1", "must be a number up to"),
        (body, "9" * 5000, "must be a number up to"),
        (body, str(int(length) - 1), "not JSON"),
    ):
        status, _, answer = send(wrong, given)
        assert status == 400 and message in answer["error"]


def test_http_that_is_wrong(server):
    for method, path, status in (
        ("GET", "/v2/models/same/infer", 405),
        ("GET", "/", 404),
        ("POST", "/v2/models/../infer", 404),
        ("DELETE", "/v2", 405),
    ):
        found, headers, answer = server.request(method, path)
        assert found == status and headers["Content-Type"] == "application/json"
        assert answer["error"]
    for raw in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, b"\0" * 100):
        with contextlib.suppress(ConnectionError), _connected(server) as connection:
            connection.sendall(raw)
            while connection.recv(4096):
                pass
    assert server.request("GET", "/v2/health/ready")[0] == 200


@contextlib.contextmanager
def _connected(server):
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        yield connection


def test_a_body_that_is_too_large_compressed_or_not(server):
    large = b" " * 200_000
    path = "/v2/models/same/infer"
    for body, headers, status in (
        (large, {}, 413),
        (gzip.compress(large), {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(large)[:-9], {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(b"{}")[:-9], {"Content-Encoding": "gzip"}, 400),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (b"", {"Content-Encoding": "br"}, 415),
    ):
        found, _, answer = server.request("POST", path, body, headers.items())
        assert found == status and answer["error"]
    with _connected(server) as connection:  # without a length, in pieces
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        answer = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(4096)
        assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come(server):
    with _connected(server) as connection:
        connection.sendall(
            b"POST /v2/models/same/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_clients_that_are_killed(server):
    """In the head, in the body, and while their answer is computed: others aren't concerned."""
    body, headers = in_binary("image", images(2, 0), "dense_1")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\n{lines}"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    reset = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, no time

    def kill(n):
        with _connected(server) as connection:
            connection.sendall(whole[: len(whole) * (n % 10 + 1) // 10])
            if n % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    def stay(seed):
        x = images(2, seed)
        body, headers = in_binary("image", x, "dense_1")
        path = "/v2/models/digits/infer"
        status, headers, content = server.request("POST", path, body, headers.items())
        return status == 200 and content[int(headers[LENGTH]) :] != b""

    with ThreadPoolExecutor(40) as pool:
        killed = [pool.submit(kill, n) for n in range(200)]
        assert all(pool.map(stay, range(100)))
        for job in killed:
            job.result()


def test_nobody_waits_for_the_run_of_a_client_that_left(server):
    body = json.dumps(count(200_000)).encode()
    head = f"POST /v2/models/counting/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    for _ in range(20):  # some seconds each
        with _connected(server) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + body)
            time.sleep(0.05)
    begun = time.monotonic()
    assert server.infer("counting", count(5))[1]["outputs"][0]["data"] == [5]
    assert time.monotonic() - begun < 10


def test_limits_of_the_queue_and_of_the_interpreter(serve, folder):
    server = serve(folder / "counting.onnx", "--queue", 2, "--max-loop-iterations", 5_000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.infer("counting", count(5_000)), range(8)))
    statuses = [status for status, _ in answers]
    assert statuses.count(200) >= 2 and set(statuses) == {200, 503}
    assert all(a["outputs"][0]["data"] == [5_000] for s, a in answers if s == 200)
    assert "2 requests are waiting already" in next(a["error"] for s, a in answers if s == 503)
    assert server.infer("counting", count(1))[0] == 200
    status, answer = server.infer("counting", count(5_001))
    assert status == 400 and "max_loop_iterations" in answer["error"]


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_those_that_are_there(serve, folder, number):
    server = serve(folder / "counting.onnx", "--batch-size", 4)
    answers = []
    waiting = [
        threading.Thread(target=lambda n=n: answers.append(server.infer("counting", count(n))))
        for n in (60_000, 60_001, 60_002)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    assert not answers
    server.process.send_signal(number)
    for thread in waiting:
        thread.join(60)
    data = {answer["outputs"][0]["data"][0] for status, answer in answers if status == 200}
    assert data == {60_000, 60_001, 60_002}
    out, err = server.process.communicate(timeout=30)
    assert (server.process.returncode, out, err) == (0, "", "")
    with pytest.raises(OSError):
        server.request("GET", "/v2/health/live")


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_another_interrupt_ends_it_at_once(serve, folder):
    server = serve(folder / "counting.onnx")
    body = json.dumps(count(200_000)).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(_connected(server))
            head = "POST /v2/models/counting/infer HTTP/1.1\r\nHost: x\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0
    server.process.communicate()
