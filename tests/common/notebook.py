"""Runs code in a kernel of JupyterLab, as its page does.

usage: notebook.py SITE COOKIE start NAME       prints the id of a new kernel of that name
       notebook.py SITE COOKIE run ID CODE      prints what CODE prints in it

SITE is such as https://alice.acme.example; COOKIE is what the login has given.
"""

import json
import ssl
import sys
import urllib.request
import uuid

from websockets.sync.client import connect

# Whose certificate it is, other tests ask.
anybodys = ssl.create_default_context()
anybodys.check_hostname = False
anybodys.verify_mode = ssl.CERT_NONE


class Page:
    def __init__(self, site: str, cookie: str) -> None:
        self.address = f"{site}/apps/jupyter"
        self.site = site
        self.cookies = [cookie]
        # A page gets its token against forged requests when it is loaded.
        with self.ask("GET", "/lab") as answer:
            assert b"JupyterLab" in answer.read()
            given = [line.split(";")[0] for line in answer.headers.get_all("Set-Cookie")]
        self.cookies += given
        self.token = next(one.split("=", 1)[1] for one in given if one.startswith("_xsrf="))

    def ask(self, method: str, path: str, body=None):
        headers = {"Cookie": "; ".join(self.cookies), "Origin": self.site}
        if body is not None:
            headers["X-XSRFToken"] = self.token
        request = urllib.request.Request(
            self.address + path,
            method=method,
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        return urllib.request.urlopen(request, context=anybodys, timeout=60)

    def start(self, name: str) -> None:
        with self.ask("POST", "/api/kernels", {"name": name, "path": "project"}) as answer:
            print(json.load(answer)["id"])

    def run(self, kernel: str, code: str) -> None:
        session = str(uuid.uuid4())
        address = self.address.replace("http", "ws", 1)
        with connect(
            f"{address}/api/kernels/{kernel}/channels?session_id={session}",
            ssl=anybodys if address.startswith("wss:") else None,
            origin=self.site,
            additional_headers={"Cookie": "; ".join(self.cookies)},
            open_timeout=60,
        ) as websocket:
            request = str(uuid.uuid4())
            header = {
                "msg_id": request,
                "msg_type": "execute_request",
                "username": "",
                "session": session,
                "version": "5.3",
            }
            content = {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            }
            websocket.send(
                json.dumps(
                    {
                        "channel": "shell",
                        "header": header,
                        "parent_header": {},
                        "metadata": {},
                        "content": content,
                        "buffers": [],
                    }
                )
            )
            while True:
                message = json.loads(websocket.recv(timeout=120))
                if message["parent_header"].get("msg_id") != request:
                    continue
                content = message["content"]
                if message["msg_type"] == "stream":
                    print(content["text"], end="", flush=True)
                elif message["msg_type"] == "execute_result":
                    print(content["data"]["text/plain"], flush=True)
                elif message["msg_type"] == "error":
                    sys.exit("\n".join(content["traceback"]))
                # The reply comes on a channel of its own, maybe before the results.
                elif content.get("execution_state") == "idle":
                    return


page = Page(*sys.argv[1:3])
{"start": page.start, "run": page.run}[sys.argv[3]](*sys.argv[4:])
