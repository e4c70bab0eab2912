"""Opens the editor's websocket and exchanges the first message of its protocol.

usage: editor-websocket.py HOST COOKIE [ORIGIN]

ORIGIN is of the page that a browser would open it from.
"""

import json
import ssl
import struct
import sys
import uuid

from websockets.sync.client import connect

CONTROL = 2  # a message type of the editor's protocol; the others carry data
HEADER = struct.Struct(">BIII")  # type, number, acknowledged number, length

host, cookie = sys.argv[1:3]
origin = sys.argv[3] if len(sys.argv) > 3 else None
context = ssl.create_default_context(cafile="/tmp/ca.crt")
address = (
    f"wss://{host}/edit/?reconnectionToken={uuid.uuid4()}"
    "&reconnection=false&skipWebSocketFrames=false"
)
with connect(
    address,
    ssl=context,
    origin=origin,
    additional_headers={"Cookie": cookie},
    open_timeout=60,
) as websocket:
    hello = json.dumps({"type": "auth", "auth": "0" * 20, "data": "hello"}).encode()
    websocket.send(HEADER.pack(CONTROL, 0, 0, len(hello)) + hello)
    answer = b""
    while len(answer) <= HEADER.size:
        answer += websocket.recv(timeout=60)
    message = json.loads(answer[HEADER.size :])
    assert message["type"] == "sign", message
    print(message["type"])
