"""One of the chat's servers: a page, and a web socket for each browser that has it open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from events_core import EmitError
from examples.online_chat.chat import CHAT, MessageSent, bus_of, events
from examples.online_chat.lobby import Lobby, Visitor

PAGE = Path(__file__).with_name("page.html")
FROM_ELSEWHERE, TRY_AGAIN = 1008, 1013  # codes of a closed web socket

lobby = Lobby()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hear what is said for as long as the server runs."""
    app.state.bus = await bus_of(lobby.show)
    async with app.state.bus:
        yield
    await asyncio.to_thread(events.close)


app = FastAPI(title="online chat", lifespan=lifespan)


class Said(BaseModel):
    """What a browser sends."""

    model_config = ConfigDict(str_strip_whitespace=True)

    author: str = Field(min_length=1, max_length=40)
    text: str = Field(min_length=1, max_length=2000)


@app.get("/")
async def page() -> FileResponse:
    """The whole client."""
    return FileResponse(PAGE, media_type="text/html")


@app.get("/healthz")
async def healthz(response: Response) -> dict[str, bool]:
    """Whether this server hears the others."""
    connected = all(queue.connected for queue in app.state.bus.statistics.values())
    response.status_code = 200 if connected else 503
    return {"connected": connected}


@app.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    """One browser, until it leaves or cannot keep up."""
    if not _is_our_page(socket):
        await socket.close(FROM_ELSEWHERE)
        return
    await socket.accept()
    with lobby.visit() as visitor:
        tasks = {asyncio.create_task(_hear(socket)), asyncio.create_task(_tell(socket, visitor))}
        try:
            await asyncio.wait({*tasks, visitor.too_slow}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            raise error
    if visitor.too_slow.done():
        with suppress(WebSocketDisconnect):
            await socket.close(TRY_AGAIN, "too slow")


async def _hear(socket: WebSocket) -> None:
    """Send on what the browser says. It sees its own message when that comes back, as everybody else does."""
    while True:
        try:
            said = Said.model_validate_json(await socket.receive_text())
            await app.state.bus.send(CHAT, MessageSent(**said.model_dump(), server=socket.url.netloc))
        except ValidationError:
            await socket.send_json({"error": "a name of 1 to 40 letters and a text of 1 to 2000, please"})
        except EmitError:
            await socket.send_json({"error": "that may not have been sent: try again"})
        except (WebSocketDisconnect, KeyError):  # gone, or bytes in place of a text
            return


async def _tell(socket: WebSocket, visitor: Visitor) -> None:
    while True:
        await socket.send_text(await visitor.next_message())


def _is_our_page(socket: WebSocket) -> bool:
    """Other sites' pages may open web sockets to us, too, with our visitors' cookies. Programs have no origin."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")
