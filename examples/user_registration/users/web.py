"""The user service over HTTP: for people, and for the services that need to know more than an event tells."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from events_core import EmitError
from examples.user_registration.users import registration
from examples.user_registration.users.system import events
from examples.user_registration.users.tokens import make_token, user_of

PAGE = Path(__file__).with_name("verify.html")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Leave the broker when the server ends."""
    yield
    await asyncio.to_thread(events.close)


app = FastAPI(title="users", lifespan=lifespan)


class Registration(BaseModel):
    """What somebody sends who wants an account."""

    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)


class Token(BaseModel):
    """What the page sends that the link leads to."""

    token: str


class Verification(BaseModel):
    """All that it takes to write the mail."""

    email: str
    link: str


@app.post("/users", status_code=202)
def register(wanted: Registration) -> dict[str, str]:
    """Register. The answer is the same whether the address is known or not. 503: try again."""
    try:
        registration.register(wanted.email)
    except EmitError as error:
        raise HTTPException(503, "please try again in a moment") from error
    return {"answer": "we have written to you: please open the link in the mail"}


@app.get("/users/{user_id}/verification")
def verification(user_id: UUID, authorization: str = Header()) -> Verification:
    """For the mail service alone: where to write to, and the link. 404: there is nothing to verify."""
    if not hmac.compare_digest(authorization.encode(), f"Bearer {os.environ['MAILER_KEY']}".encode()):
        raise HTTPException(403, "this is for the mail service")
    user = registration.find(user_id)
    if user is None or user.verified:
        raise HTTPException(404, "nothing to verify")
    # after the #: browsers keep that to themselves, so that the token is in no log of a server or proxy
    return Verification(email=user.email, link=f"{os.environ['USERS_URL']}/verify#{make_token(user.user_id)}")


@app.get("/verify")
def verify_page() -> FileResponse:
    """What the link opens. It verifies nothing by itself: programs that look into mails open links, too."""
    return FileResponse(PAGE, media_type="text/html")


@app.post("/verify")
def verify(wanted: Token) -> dict[str, str]:
    """Verify the address that the token was sent to."""
    user_id = user_of(wanted.token)
    user = None if user_id is None else registration.verify(user_id)
    if user is None:
        raise HTTPException(400, "this link is not valid any more: register again")
    return {"verified": user.email}
