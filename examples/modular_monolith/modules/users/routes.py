"""Users over HTTP."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field, SecretStr

from examples.modular_monolith.modules.users.service import UserService

router = APIRouter()


class NewUser(BaseModel):
    """What somebody sends who wants an account."""

    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)
    password: SecretStr = Field(min_length=8)
    full_name: str | None = None


@router.post("/users", status_code=201)
def create_user(new: NewUser) -> dict[str, UUID]:
    """Create a user."""
    try:
        user = UserService().create_user(new.email, new.password.get_secret_value(), new.full_name)
    except sqlite3.IntegrityError as error:
        raise HTTPException(409, "this address has an account") from error
    return {"user_id": user.user_id}
