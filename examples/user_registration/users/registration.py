"""What the user service does."""

from __future__ import annotations

from uuid import UUID

from examples.user_registration.users.store import Store, transaction
from examples.user_registration.users.system import events
from examples.user_registration.users.user import User


def register(email: str) -> None:
    """Somebody wants an account. Raises EmitError, and then they may simply try again."""
    with transaction() as store:
        user = store.by_email(email) or User(email)
        user.register()
        store.save(user)
        commit_and_emit(store, user)


def verify(user_id: UUID) -> User | None:
    """The user whose address is verified from now on; None for one that there is not."""
    with transaction() as store:
        user = store.by_id(user_id)
        if user is not None:
            user.verify()
            store.save(user)
            commit_and_emit(store, user)
        return user


def find(user_id: UUID) -> User | None:
    """The user of that id."""
    with transaction() as store:
        return store.by_id(user_id)


def commit_and_emit(store: Store, user: User) -> None:
    """The one place where a change is saved and told of: first on disk, then on its way.

    Between the two lines lies what this example cannot do yet. A process that dies there, or a broker that is away,
    and the user is saved while nobody ever writes to them: they have to register again. The other way round would be
    worse: a mail about a user that was rolled back. An outbox closes the gap. It writes the events into the same
    transaction, and sends them when that has committed; its place is here, and nothing else changes.
    """
    store.commit()
    # <- what dies here has saved the user and lost the event
    events.emit_many(user.pop_events())
