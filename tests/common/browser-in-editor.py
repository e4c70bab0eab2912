"""Signs in with Chromium, opens the workspace's page and its editor, types a command in a terminal
there and waits for its output. Pictures of each page, wide and narrow, go into a folder.

usage: browser-in-editor.py ADDRESS FOLDER [CHROMIUM-OPTION…]

The password is read from standard input.
"""

import asyncio
import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

from websockets.asyncio.client import connect

SIZES = {"1280": (1280, 800), "390": (390, 844)}
WAIT_S = 180


class Page:
    """A tab of Chromium, by its DevTools protocol."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.number = 0

    async def call(self, method: str, **parameters) -> dict:
        self.number += 1
        await self.socket.send(
            json.dumps({"id": self.number, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    async def value(self, expression: str):
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while not await self.value(f"!!({expression})"):
                await asyncio.sleep(0.5)

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: str, number: int, modifiers: int = 0) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=code,
                windowsVirtualKeyCode=number,
                modifiers=modifiers,
                **(text if kind == "keyDown" else {}),
            )

    async def click(self, selector: str) -> None:
        """Clicks into the middle of what the selector finds, as the mouse does."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = [
            await self.value(f"{box}.{side} + {box}.{length} / 2")
            for side, length in (("left", "width"), ("top", "height"))
        ]
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    async def picture(self, folder: pathlib.Path, name: str) -> None:
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                await self.call(
                    "Emulation.setEmulatedMedia",
                    features=[{"name": "prefers-color-scheme", "value": scheme}],
                )
                await self.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                await asyncio.sleep(0.3)
                wider = await self.value(
                    "document.documentElement.scrollWidth > innerWidth"
                )
                assert not wider, f"{name} is wider than {width} px"
                shot = await self.call("Page.captureScreenshot")
                (folder / f"{name}-{size}-{scheme}.png").write_bytes(
                    base64.b64decode(shot["data"])
                )


async def visit(page: Page, address: str, folder: pathlib.Path, password: str) -> None:
    await page.call("Page.enable")
    await page.call("Page.navigate", url=address)
    await page.wait_for("document.querySelector('input[type=password]')")
    await page.picture(folder, "sign-in")

    await page.type(password)
    await page.press("Enter", "Enter", 13)
    await page.wait_for("document.querySelector('a[href=\"/edit/\"]')")
    await page.picture(folder, "start")

    await page.call("Emulation.clearDeviceMetricsOverride")
    await page.value("document.querySelector('a[href=\"/edit/\"]').click()")
    await page.wait_for("document.querySelector('.monaco-workbench .part.statusbar')")
    await page.press("`", "Backquote", 192, modifiers=2)
    await page.wait_for("document.querySelector('.xterm-helper-textarea')")
    # Without 3D the terminal is text in the page.
    rows = "(document.querySelector('.xterm-rows')?.innerText ?? '')"
    await page.wait_for(f"{rows}.includes('$')")
    # What else has opened meanwhile may have taken the keyboard.
    await page.click(".xterm-screen")
    await page.type("echo $((6 * 7))-from-$(whoami)")
    await page.press("Enter", "Enter", 13)
    await page.wait_for(f"/42-from-[a-z]/.test({rows})")
    print(await page.value(f"{rows}.match(/42-from-\\S+/)[0]"))
    await page.picture(folder, "editor")


async def main() -> None:
    address, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    password = sys.stdin.read().strip()
    with tempfile.TemporaryDirectory() as profile:
        chromium = subprocess.Popen(
            [
                "chromium",
                "--headless",
                "--disable-gpu",
                "--disable-3d-apis",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                *sys.argv[3:],
                "about:blank",
            ]
        )
        try:
            port = pathlib.Path(profile, "DevToolsActivePort")
            async with asyncio.timeout(WAIT_S):
                while not port.exists():
                    await asyncio.sleep(0.2)
            endpoint = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
            tabs = json.load(urllib.request.urlopen(endpoint))
            [tab] = [tab for tab in tabs if tab["type"] == "page"]
            async with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
                page = Page(socket)
                try:
                    await visit(page, address, folder, password)
                except TimeoutError:
                    await page.picture(folder, "timeout")
                    raise
        finally:
            chromium.terminate()
            chromium.wait()


asyncio.run(main())
