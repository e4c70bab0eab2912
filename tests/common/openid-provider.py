"""An OpenID provider with the part of Google's that a sign-in uses.

usage: openid-provider.py PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI

Whoever opens /account?email=ADDRESS is signed in there as ADDRESS, which nobody has confirmed
with &unverified=1. A code is good for one use by the client that asked, from the browser that
began (PKCE).
"""

import base64
import hashlib
import hmac
import http.cookies
import http.server
import json
import secrets
import sys
import time
import urllib.parse

CLIENT_ID, CLIENT_SECRET, REDIRECT_URI = sys.argv[2:5]
ACCESS_TOKEN = "poison-access-token"
codes: dict[str, dict] = {}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: dict) -> str:
    header = {"alg": "HS256", "typ": "JWT"}
    parts = [encoded(json.dumps(part).encode()) for part in (header, claims)]
    mac = hmac.digest(CLIENT_SECRET.encode(), ".".join(parts).encode(), "sha256")
    return ".".join([*parts, encoded(mac)])


class Provider(http.server.BaseHTTPRequestHandler):
    def refuse(self, why: str) -> None:
        self.answer(400, {"error": why})

    def answer(self, status: int, body: dict) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        cookies = http.cookies.SimpleCookie(self.headers["Cookie"])
        if url.path == "/account":
            self.send_response(204)
            for name, value in asked.items():
                self.send_header("Set-Cookie", f"{name}={value}")
            return self.end_headers()
        if url.path == "/tokeninfo" and asked.get("access_token") == ACCESS_TOKEN:
            return self.answer(200, {"audience": CLIENT_ID})
        if url.path != "/authorize":
            return self.answer(404, {})
        if asked.get("client_id") != CLIENT_ID:
            return self.refuse("invalid_client")
        if asked.get("redirect_uri") != REDIRECT_URI:
            return self.refuse("redirect_uri_mismatch")
        if asked.get("response_type") != "code" or "email" not in asked["scope"].split():
            return self.refuse("invalid_request")
        if asked.get("code_challenge_method") != "S256":
            return self.refuse("no proof of the browser that began")
        if "email" not in cookies:
            return self.refuse("login_required")
        code = secrets.token_urlsafe()
        codes[code] = {
            "challenge": asked["code_challenge"],
            "email": cookies["email"].value,
            "email_verified": "unverified" not in cookies,
        }
        query = urllib.parse.urlencode({"code": code, "state": asked["state"]})
        self.send_response(302)
        self.send_header("Location", f"{REDIRECT_URI}?{query}")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = dict(urllib.parse.parse_qsl(body))
        account = codes.pop(asked.get("code", ""), None)
        if self.path != "/token" or account is None:
            return self.refuse("invalid_grant")
        verifier = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        if encoded(verifier) != account.pop("challenge"):
            return self.refuse("invalid_grant")
        if (asked["client_id"], asked["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            return self.refuse("invalid_client")
        now = int(time.time())
        claims = {"iss": "https://accounts.google.com", "aud": CLIENT_ID, "iat": now}
        claims |= {"exp": now + 3600, "sub": hashlib.sha256(account["email"].encode()).hexdigest()}
        self.answer(
            200,
            {
                "access_token": ACCESS_TOKEN,
                "expires_in": 3599,
                "id_token": signed(claims | account),
                "token_type": "Bearer",
            },
        )


http.server.HTTPServer(("", int(sys.argv[1])), Provider).serve_forever()
