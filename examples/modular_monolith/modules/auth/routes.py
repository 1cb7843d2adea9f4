"""Password resets over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field, SecretStr

from examples.modular_monolith.modules.auth.service import AuthService
from examples.modular_monolith.modules.users.service import UserService

router = APIRouter(prefix="/password-reset")


class Forgotten(BaseModel):
    """Who has forgotten their password."""

    email: str


class NewPassword(BaseModel):
    """What they send who got the mail."""

    token: SecretStr
    password: SecretStr = Field(min_length=8)


@router.post("", status_code=202)
def request_password_reset(forgotten: Forgotten) -> dict[str, str]:
    """Ask for a mail. The answer is the same whether there is such a user or not."""
    AuthService(UserService()).request_password_reset(forgotten.email)
    return {"answer": "if you have an account, a mail is on its way"}


@router.post("/confirm")
def reset_password(new: NewPassword) -> dict[str, str]:
    """Set the password."""
    token, password = new.token.get_secret_value(), new.password.get_secret_value()
    if not AuthService(UserService()).reset_password(token, password):
        raise HTTPException(400, "this token is not valid any more: ask for another one")
    return {"answer": "the password is changed"}
