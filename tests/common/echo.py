"""A server that answers with what it was asked: method, path, headers and the length of the
body as JSON. On a websocket it sends messages back.

usage: echo.py PORT|SOCKET
"""

import sys

from aiohttp import WSMsgType, web


async def answer(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.type == WSMsgType.TEXT:
                await websocket.send_str(message.data)
        return websocket
    length = 0
    async for chunk in request.content.iter_any():
        length += len(chunk)
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "headers": dict(request.headers),
            "length": length,
        }
    )


app = web.Application()
app.router.add_route("*", "/{path:.*}", answer)
where = sys.argv[1]
if where.startswith("/"):
    web.run_app(app, path=where)
else:
    web.run_app(app, host="127.0.0.1", port=int(where))
