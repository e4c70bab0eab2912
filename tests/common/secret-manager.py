"""The metadata server and Secret Manager, as far as a workspace asks them.

usage: secret-manager.py DIRECTORY

A secret is what the file of its name in DIRECTORY holds; every change of it is a version.
While NAME.refused is there, Secret Manager refuses.
"""

import base64
import http.server
import json
import pathlib
import re
import sys

DIRECTORY = pathlib.Path(sys.argv[1])
TOKEN = "poison token"
VERSION = re.compile("/v1/(projects/acme-data-science/secrets/([a-z-]+)/versions)/latest:access")


class Google(http.server.BaseHTTPRequestHandler):
    def answer(self, status: int, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message}})

    def do_GET(self) -> None:
        metadata = self.headers["Metadata-Flavor"] == "Google"
        if metadata and self.path == "/computeMetadata/v1/project/project-id":
            self.answer(200, "acme-data-science")
        elif (
            metadata
            and self.path
            == "/computeMetadata/v1/instance/service-accounts/default/token"
        ):
            self.answer(200, {"access_token": TOKEN, "expires_in": 3599})
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse(401, "Request had invalid authentication credentials.")
        else:
            self.secret(VERSION.fullmatch(self.path))

    def secret(self, asked: re.Match | None) -> None:
        if asked and (DIRECTORY / f"{asked[2]}.refused").exists():
            self.refuse(403, "Permission denied on resource.")
        elif not asked or not (file := DIRECTORY / asked[2]).exists():
            self.refuse(404, "Secret or version not found.")
        else:
            data = base64.b64encode(file.read_bytes()).decode()
            version = f"{asked[1]}/{file.stat().st_mtime_ns}"
            self.answer(200, {"name": version, "payload": {"data": data}})


http.server.HTTPServer(("", 80), Google).serve_forever()
