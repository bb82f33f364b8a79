"""A model server that answers by the formula, without TensorFlow, and fails when it is told to."""

import base64
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from lesions.slices import PLANES
from tests.serving.conftest import ASYMMETRIC, formula, make_card

ASKED = re.compile(r"/v1/models/(\w+)/versions/(\d+):predict")


class FakeModels:
    """`versions` of each plane are served; `trouble(plane, version)` may answer in a predict request's place."""

    def __init__(self, grid=ASYMMETRIC):
        self.grid, self.versions = grid, {plane: [3] for plane in PLANES}
        self.ready, self.seconds, self.asked, self.trouble = True, 0.0, [], lambda plane, version: None
        self.lock, fake = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                plane = self.path.rsplit("/", 1)[1]
                state = "AVAILABLE" if fake.ready else "LOADING"
                found = [{"version": str(number), "state": state} for number in fake.versions.get(plane, [])]
                self.reply(200 if found else 404, {"model_version_status": found})

            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                plane, version = ASKED.fullmatch(self.path).groups()
                self.reply(*fake.answer(plane, int(version), content))

            def reply(self, status, content):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 503:
                    self.send_header("Retry-After", "0.1")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # a gateway that was killed does not wait for its answer
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, plane, version, content):
        if version not in self.versions[plane]:
            return 404, {"error": f"Servable not found for request: Specific({plane}, {version})"}
        if content["signature_name"] == "card":
            return 200, {"predictions": [make_card(plane, self.grid).as_json()]}
        with self.lock:
            self.asked.append((plane, version, len(content["instances"])))
        if found := self.trouble(plane, version):
            return found
        time.sleep(self.seconds)
        height, width = make_card(plane, self.grid).asked_with
        rows = [base64.b64decode(row["b64"]) for row in content["instances"]]
        slices = np.stack([np.frombuffer(row, "<f4").reshape(height, width) for row in rows])
        answers = [base64.b64encode(one.tobytes()).decode() for one in formula(plane, slices)]
        return 200, {"predictions": [{"b64": text} for text in answers]}

    def close(self):
        self.http.shutdown()
        self.http.server_close()
