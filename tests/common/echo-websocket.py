"""Sends a message over a websocket to echo.py and expects it back.

usage: echo-websocket.py ADDRESS COOKIE-JAR [ORIGIN]

COOKIE-JAR is a file of curl's; ORIGIN is of the page that a browser would open it from.
"""

import ssl
import sys

from websockets.sync.client import connect

address, jar = sys.argv[1:3]
origin = sys.argv[3] if len(sys.argv) > 3 else None
cookies = [
    "=".join(line.split("\t")[5:7])
    for line in open(jar).read().splitlines()
    if line.count("\t") == 6
]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with connect(
    address,
    ssl=context,
    origin=origin,
    additional_headers={"Cookie": "; ".join(cookies)},
    open_timeout=20,
) as websocket:
    websocket.send("hello")
    assert websocket.recv(timeout=20) == "hello"
