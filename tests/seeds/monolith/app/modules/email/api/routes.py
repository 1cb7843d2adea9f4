"""The routes of the email module."""

from fastapi import APIRouter

router = APIRouter()


@router.get("/email/health")
def health() -> dict[str, bool]:
    return {"ok": True}
