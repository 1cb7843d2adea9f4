"""The page's tests. Run by tests/acceptance/test_seeds.py, in this folder: its imports begin there."""

import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from app.modules.email.services.email_event_handlers import handle_user_created_event
from app.modules.users.domain.events import UserCreatedEvent
from app.modules.users.services.user_service import UserCreate, UserRepository, UserService

user_create = UserCreate("a@example.com", "Ada", "secret")
user_repo_mock = UserRepository()


class Mocker:
    """As much of pytest-mock's as the page uses."""

    MagicMock = mock.MagicMock

    def patch(self, target: str, **options: Any) -> Any:
        return mock.patch(target, **options).start()


@pytest.fixture
def mocker() -> Iterator[Mocker]:
    yield Mocker()
    mock.patch.stopall()


# --- monolith 10: as it is
def test_create_user_publishes_event(mocker):
    # Arrange
    user_service = UserService(user_repo_mock)
    publish_mock = mocker.patch("app.core.events.publish_event")

    # Act
    user_service.create_user(user_create)

    # Assert
    publish_mock.assert_called_once()
    event = publish_mock.call_args[0][0]
    assert isinstance(event, UserCreatedEvent)
    assert event.email == user_create.email


# --- monolith 11: changed
def test_handle_user_created_event(mocker):
    # Arrange
    event = UserCreatedEvent(user_id=uuid.uuid4(), email="test@example.com")
    email_service_mock = mocker.MagicMock()
    mocker.patch("app.modules.email.services.email_event_handlers.get_email_service", return_value=email_service_mock)

    # Act
    handle_user_created_event(event)

    # Assert
    email_service_mock.send_new_account_email.assert_called_once_with(
        email_to="test@example.com", username="test@example.com"
    )
