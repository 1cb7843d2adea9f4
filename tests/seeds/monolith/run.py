"""What the page on the modular monolith says, done: ends with 0 where all of it holds."""

from app.main import app
from app.modules.auth.password_reset import AuthService
from app.modules.users.services.user_service import User, UserCreate, UserRepository, UserService
from fastapi.testclient import TestClient

from tests.seeds.record import said
from tests.support.waiting import wait_until


class Users:
    def get_by_email(self, email: str) -> User | None:
        return User(email, None, "") if email == "a@example.com" else None


if __name__ == "__main__":
    assert TestClient(app).get("/api/v1/email/health").json() == {"ok": True}
    UserService(UserRepository()).create_user(UserCreate("a@example.com", "Ada", "secret"))
    AuthService(Users()).request_password_reset("nobody@example.com")
    AuthService(Users()).request_password_reset("a@example.com")
    wait_until(lambda: len(said()) == 2, what="both mails")
    assert sorted(said()) == [
        ["new account", "a@example.com", "Ada"],
        ["password reset", "a@example.com", "a@example.com", "token of a@example.com"],
    ]
