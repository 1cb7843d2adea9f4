"""Asks the user service for what its event does not tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID

import httpx


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """Where to write to, and the link. It has no repr, so that no traceback and no log shows the link."""

    email: str
    link: str


async def verification_of(user_id: UUID) -> Verification | None:
    """What is to be verified; None where it is done already. Raises httpx.HTTPError while the service is away."""
    headers = {"authorization": f"Bearer {os.environ['MAILER_KEY']}"}
    async with httpx.AsyncClient(base_url=os.environ["USERS_URL"], headers=headers, trust_env=False) as client:
        answer = await client.get(f"/users/{user_id}/verification")
    if answer.status_code == 404:
        return None
    return Verification(**answer.raise_for_status().json())
