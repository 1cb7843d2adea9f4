"""The users' service."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from app.modules.users.domain.events import UserCreatedEvent


@dataclass
class UserCreate:
    email: str
    full_name: str | None
    password: str


@dataclass
class User:
    email: str
    full_name: str | None
    hashed_password: str
    id: uuid.UUID = field(default_factory=uuid.uuid4)


def get_password_hash(password: str) -> str:
    return password[::-1]


class UserRepository:
    def create(self, user: User) -> User:
        return user


class UserService:
    def __init__(self, user_repo: Any) -> None:
        self.user_repo = user_repo

    # --- monolith 6: as it is
    # app/modules/users/services/user_service.py
    def create_user(self, user_create: UserCreate) -> User:
        """Create a new user."""
        # Create the user in the database
        user = User(
            email=user_create.email,
            full_name=user_create.full_name,
            hashed_password=get_password_hash(user_create.password),
        )
        created_user = self.user_repo.create(user)

        # Publish the event
        event = UserCreatedEvent(
            user_id=created_user.id,
            email=created_user.email,
            full_name=created_user.full_name,
        )
        event.publish()

        return created_user
