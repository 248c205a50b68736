"""A liar in front of a real node: hands everything through until a test says what to do to an answer.

`twist(method, params, answer)` changes one JSON-RPC answer (a dict) in place or returns another one; `spoil(raw)`
changes the bytes of a whole answer, or returns an `Http` for another status, a delay or a cut line. Both are asked
once for each request and may do nothing. What really fired is counted by the one who set them.
"""

import json
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass
class Http:
    """An answer that is not what the node said."""

    body: bytes = b""
    status: int = 200
    headers: tuple = ()
    cut_after: int | None = None  # closes the line after so many bytes
    delay: float = 0.0
    drip: float = 0.0  # seconds between single bytes


class Proxy:
    def __init__(self, url):
        self.target = url
        self.twist = None
        self.spoil = None
        self.requests = 0
        self.client = httpx.Client(timeout=30, trust_env=False)
        self.lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                proxy.give(self, proxy.answer(body))

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """The other side hung up, or we did: that is what this is for."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.honest()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.client.close()

    def honest(self):
        self.twist = self.spoil = None

    def answer(self, body):
        """The node's answer with what the test does to it: bytes, or an Http."""
        self.requests += 1
        asked = json.loads(body)
        raw = self.client.post(self.target, content=body, headers={"content-type": "application/json"}).content
        if self.twist is not None:
            found = json.loads(raw)
            if isinstance(asked, list):
                by_id = {item["id"]: item for item in found}
                found = [self._twisted(one, by_id[one["id"]]) for one in asked]
            else:
                found = self._twisted(asked, found)
            raw = json.dumps(found).encode()
        return self.spoil(raw) if self.spoil is not None else raw

    def _twisted(self, asked, answer):
        changed = self.twist(asked["method"], asked["params"], answer)
        return answer if changed is None else changed

    def give(self, handler, answer):
        if isinstance(answer, bytes):
            answer = Http(answer)
        if answer.delay:
            time.sleep(answer.delay)
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(answer.body)))
        handler.end_headers()
        if answer.drip:
            for byte in answer.body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(answer.drip)
            return
        if answer.cut_after is not None:
            handler.wfile.write(answer.body[: answer.cut_after])
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.wfile.write(answer.body)
