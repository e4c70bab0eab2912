"""The metadata server, as far as OS Login asks it.

usage: os-login.py FILE

FILE holds JSON, read at every request:
  {"profiles": {"USERNAME": {"name": "ID", "keys": [{"key": "ssh-ed25519 …", "expirationTimeUsec": "…"}]}},
   "login": ["ID"]}
and says who there is, and who may log in.
"""

import http.server
import json
import pathlib
import sys
import urllib.parse

FILE = pathlib.Path(sys.argv[1])
OS_LOGIN = "/computeMetadata/v1/oslogin/"


class Metadata(http.server.BaseHTTPRequestHandler):
    def answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        address = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        world = json.loads(FILE.read_text())
        if self.headers["Metadata-Flavor"] != "Google":
            self.answer(403, "Missing Metadata-Flavor:Google header.")
        elif address.path == OS_LOGIN + "users":
            profile = world["profiles"].get(query.get("username"))
            if profile is None:
                self.answer(404, {})
            else:
                self.answer(200, {"loginProfiles": [login_profile(query, profile)]})
        elif address.path == OS_LOGIN + "authorize":
            allowed = query["policy"] == "login" and query["email"] in world["login"]
            self.answer(200, {"success": allowed})
        elif address.path == OS_LOGIN + "groups":
            self.answer(200, {"posixGroups": [{"name": "none", "gid": 4294967295}]})
        else:
            self.answer(404, {})


def login_profile(query: dict[str, str], profile: dict) -> dict:
    username = query["username"]
    return {
        "name": profile["name"],
        "posixAccounts": [
            {
                "primary": True,
                "username": username,
                "uid": "271828182",
                "gid": "271828182",
                "homeDirectory": f"/home/{username}",
                "operatingSystemType": "LINUX",
            }
        ],
        "sshPublicKeys": {
            str(number): {"fingerprint": str(number), **key}
            for number, key in enumerate(profile["keys"])
        },
    }


http.server.ThreadingHTTPServer(("", 80), Metadata).serve_forever()
