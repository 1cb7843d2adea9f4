"""A folder of mails, one file each, in place of the mail server that an example does not have."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path


def send(folder: Path, key: str, to: str, subject: str, text: str) -> None:
    """Send a mail. key: one key is one mail, however often it is sent."""
    mail = EmailMessage()
    mail["To"], mail["Subject"], mail["Message-ID"] = to, subject, f"<{key}@mail.example>"
    mail.set_content(text)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{key}.part"
    part.write_bytes(bytes(mail))
    part.replace(folder / f"{key}.eml")  # nobody ever sees half a mail


def sent(folder: Path) -> Iterator[EmailMessage]:
    """All mails, the oldest first where their keys are ids of events."""
    for path in sorted(folder.glob("*.eml")):
        yield message_from_bytes(path.read_bytes(), policy=policy.default)


def text_of(mail: EmailMessage) -> str:
    """What is written in it."""
    return str(mail.get_content())
