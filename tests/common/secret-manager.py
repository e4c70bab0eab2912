"""The metadata server and Secret Manager, as far as a login asks them.

usage: secret-manager.py FILE

The secret workspace-alice-password is what FILE holds; every change of it is a version.
While FILE.refused is there, Secret Manager refuses.
"""

import base64
import http.server
import json
import pathlib
import sys

PASSWORD = pathlib.Path(sys.argv[1])
REFUSED = PASSWORD.with_suffix(".refused")
TOKEN = "poison token"
SECRET = "projects/acme-data-science/secrets/workspace-alice-password/versions"


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
        elif REFUSED.exists():
            self.refuse(403, "Permission denied on resource.")
        elif self.path != f"/v1/{SECRET}/latest:access" or not PASSWORD.exists():
            self.refuse(404, "Secret or version not found.")
        else:
            data = base64.b64encode(PASSWORD.read_bytes()).decode()
            version = PASSWORD.stat().st_mtime_ns
            self.answer(
                200, {"name": f"{SECRET}/{version}", "payload": {"data": data}}
            )


http.server.HTTPServer(("", 80), Google).serve_forever()
