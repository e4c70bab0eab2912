"""Opens a terminal through the editor's websocket, as its page does.

usage: editor-terminal.py ADDRESS COOKIE FIFO

ADDRESS is the editor's, such as wss://alice.acme.example/edit/. What is written to FIFO is
typed into the terminal; what the terminal prints is printed. Ends with the shell, or in
failure with the connection.

Spoken is what microsoft/vscode has in src/vs/base/parts/ipc/common/ipc.ts and ipc.net.ts.
"""

import json
import os
import ssl
import struct
import sys
import threading
import uuid

from websockets.sync.client import connect

# Messages of the connection, and what each one's head holds: type, number, acknowledged
# number, length.
REGULAR, CONTROL, ACKNOWLEDGE = 1, 2, 3
HEAD = struct.Struct(">BIII")
# Messages of the calls inside.
CALL, LISTEN = 100, 102
INITIALIZED, RESULT, EVENT = 200, 201, 204
UNDEFINED, STRING, BUFFER, BUFFER_OF_VSCODE, ARRAY, OBJECT, INTEGER = range(7)


def length(number: int) -> bytes:
    out = b""
    while True:
        number, low = number >> 7, number & 0x7F
        if number == 0:
            return out + bytes([low])
        out += bytes([low | 0x80])


def encoded(value) -> bytes:
    if value is None:
        return bytes([UNDEFINED])
    if isinstance(value, list):
        parts = b"".join(encoded(part) for part in value)
        return bytes([ARRAY]) + length(len(value)) + parts
    if isinstance(value, int):
        return bytes([INTEGER]) + length(value)
    kind, text = (STRING, value) if isinstance(value, str) else (OBJECT, json.dumps(value))
    data = text.encode()
    return bytes([kind]) + length(len(data)) + data


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def length(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return number
            shift += 7

    def value(self):
        kind = self.take(1)[0]
        if kind == UNDEFINED:
            return None
        if kind == INTEGER:
            return self.length()
        if kind == ARRAY:
            return [self.value() for _ in range(self.length())]
        data = self.take(self.length())
        if kind in (BUFFER, BUFFER_OF_VSCODE):
            return data
        return data.decode() if kind == STRING else json.loads(data)


class Connection:
    """One that is there for the calls of a page: the server names it Management."""

    def __init__(self, websocket) -> None:
        self.websocket = websocket
        self.sent, self.received, self.calls = 0, 0, 0
        self.rest = b""
        self.lock = threading.Lock()

    def send(self, kind: int, data: bytes) -> None:
        with self.lock:
            if kind == REGULAR:
                self.sent += 1
            number = self.sent if kind == REGULAR else 0
            self.websocket.send(HEAD.pack(kind, number, self.received, len(data)) + data)

    def receive(self, count: int) -> bytes:
        while len(self.rest) < count:
            self.rest += self.websocket.recv()
        out, self.rest = self.rest[:count], self.rest[count:]
        return out

    def message(self) -> tuple[int, bytes]:
        kind, number, _, size = HEAD.unpack(self.receive(HEAD.size))
        data = self.receive(size)
        if kind == REGULAR:
            self.received = number
            self.send(ACKNOWLEDGE, b"")
        return kind, data

    def control(self, message: dict) -> None:
        self.send(CONTROL, json.dumps(message).encode())

    def open(self) -> None:
        self.control({"type": "auth", "auth": "0" * 20, "data": "hello"})
        kind, data = self.message()
        assert kind == CONTROL and json.loads(data)["type"] == "sign", data
        self.control({"type": "connectionType", "signedData": "hello", "desiredConnectionType": 1})
        kind, data = self.message()
        assert kind == CONTROL and json.loads(data)["type"] == "ok", data
        self.send(REGULAR, encoded({"remoteAuthority": "remote", "clientId": "renderer"}))

    def call(self, what: int, name: str, argument=None) -> int:
        self.calls += 1
        head = encoded([what, self.calls, "remoteterminal", name])
        self.send(REGULAR, head + encoded(argument))
        return self.calls

    def answer(self) -> tuple[int, int, object]:
        """Kind, number of the call, value: of the next answer to a call."""
        while True:
            kind, data = self.message()
            if kind != REGULAR:
                continue
            reader = Reader(data)
            head, value = reader.value(), reader.value()
            if head[0] != INITIALIZED:
                return head[0], head[1], value

    def result(self, name: str, argument=None):
        number = self.call(CALL, name, argument)
        while True:
            kind, of, value = self.answer()
            if of == number:
                assert kind == RESULT, (name, value)
                return value


def main(address: str, cookie: str, fifo: str) -> None:
    context = None
    if address.startswith("wss:"):
        # Whose certificate it is, other tests ask.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with connect(
        f"{address}?reconnectionToken={uuid.uuid4()}&reconnection=false&skipWebSocketFrames=false",
        ssl=context,
        additional_headers={"Cookie": cookie},
        open_timeout=20,
        max_size=None,
    ) as websocket:
        use(Connection(websocket), fifo)


def use(connection: Connection, fifo: str) -> None:
    connection.open()
    output = connection.call(LISTEN, "$onProcessDataEvent")
    ends = connection.call(LISTEN, "$onProcessExitEvent")
    shell = connection.result("$getDefaultSystemShell", [3])  # of Linux
    created = connection.result(
        "$createProcess",
        {
            "configuration": {
                "terminal.integrated.env.linux": {},
                "terminal.integrated.detectLocale": "auto",
                "terminal.integrated.shellIntegration.enabled": False,
            },
            "resolvedVariables": {},
            "envVariableCollections": [],
            "shellLaunchConfig": {
                "name": "terminal",
                "executable": shell,
                # Reads /etc/profile whatever its builder has compiled in.
                "args": ["-l"],
                "useShellEnvironment": True,
            },
            "workspaceId": "test",
            "workspaceName": "test",
            "workspaceFolders": [],
            "activeWorkspaceFolder": None,
            "activeFileResource": None,
            "shouldPersistTerminal": True,
            "options": {
                "shellIntegration": {"enabled": False},
                "windowsEnableConpty": False,
                "windowsUseConptyDll": False,
                "environmentVariableCollections": None,
                "workspaceFolder": None,
                "isScreenReaderOptimized": False,
            },
            "cols": 80,
            "rows": 25,
            "unicodeVersion": "11",
            "resolverEnv": None,
        },
    )
    terminal = created["persistentTerminalId"]
    connection.result("$start", [terminal])

    def type_in() -> None:
        while True:
            with open(fifo) as lines:
                for line in lines:
                    connection.call(CALL, "$input", [terminal, line.replace("\n", "\r")])

    threading.Thread(target=type_in, daemon=True).start()
    while True:
        kind, of, value = connection.answer()
        if kind != EVENT or not isinstance(value, dict) or value.get("id") != terminal:
            continue
        if of == output:
            data = value["event"]
            text = data if isinstance(data, str) else data["data"]
            print(text, end="", flush=True)
            connection.call(CALL, "$acknowledgeDataEvent", [terminal, len(text)])
        elif of == ends:
            # Past the other thread, which waits for more to type.
            os._exit(0)


main(*sys.argv[1:])
