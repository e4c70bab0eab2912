"""The metadata server and Cloud Storage, as far as a workspace's agent asks them.

usage: cloud.py FOLDER

FOLDER/system       what the metadata key workspace-system holds
FOLDER/bucket/      the objects of the bucket `cache`, for those who have the machine's token
FOLDER/preempted    TRUE once the machine is taken back
FOLDER/attributes/  the guest attributes that the machine wrote
FOLDER/requests     what the bucket was asked for, with the status of the answer
"""

import hashlib
import http.server
import json
import pathlib
import sys
import time
import urllib.parse
from collections.abc import Callable

FOLDER = pathlib.Path(sys.argv[1])
TOKEN = "poison-token"
METADATA = "/computeMetadata/v1/instance"
OBJECTS = "/storage/v1/b/cache/o/"


def contents(name: str) -> str | None:
    file = FOLDER / name
    return file.read_text().strip() if file.exists() else None


def attributes() -> bytes:
    system = contents("system")
    return json.dumps({"workspace-system": system} if system is not None else {}).encode()


def preempted() -> bytes:
    return (contents("preempted") or "FALSE").encode()


def etag_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


class Cloud(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, etag: str = "0") -> None:
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith(OBJECTS):
            self.object(urllib.parse.unquote(url.path.removeprefix(OBJECTS)))
        elif self.headers["Metadata-Flavor"] != "Google":
            self.answer(403, b"")
        elif url.path == f"{METADATA}/id":
            self.answer(200, b"1")
        elif url.path == f"{METADATA}/service-accounts/default/token":
            token = {"access_token": TOKEN, "expires_in": 3599}
            self.answer(200, json.dumps(token).encode())
        elif url.path == f"{METADATA}/attributes/":
            self.follow(attributes, url.query)
        elif url.path == f"{METADATA}/preempted":
            self.follow(preempted, url.query)
        else:
            self.answer(404, b"")

    def follow(self, look: Callable[[], bytes], asked: str) -> None:
        query = urllib.parse.parse_qs(asked)
        end = time.monotonic() + int(query.get("timeout_sec", ["0"])[0])
        text = look()
        while query.get("last_etag") == [etag_of(text)] and time.monotonic() < end:
            time.sleep(0.2)
            text = look()
        self.answer(200, text, etag_of(text))

    def object(self, name: str) -> None:
        file = FOLDER / "bucket" / name
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            status, body = 401, b"Anonymous caller"
        elif file.is_file():
            status, body = 200, file.read_bytes()
        else:
            status, body = 404, b"No such object"
        with (FOLDER / "requests").open("a") as log:
            log.write(f"{status} {name}\n")
        self.answer(status, body)

    def do_PUT(self) -> None:
        value = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.path.removeprefix(f"{METADATA}/guest-attributes/workspace/")
        (FOLDER / "attributes" / key).write_bytes(value)
        self.answer(200, b"")


(FOLDER / "attributes").mkdir(parents=True, exist_ok=True)
http.server.ThreadingHTTPServer(("", 80), Cloud).serve_forever()
