"""Secret fields: readable on the event and on the wire, and `***` wherever people read."""

from __future__ import annotations

import gc
import json
import traceback
import warnings
import weakref
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, PlainSerializer, RootModel, SecretBytes, SecretStr, ValidationError
from pydantic import Secret as PydanticSecret
from pydantic_core import to_json

from events_core import DomainEvent, ECSTEvent, NotificationEvent
from events_core.brokers.base import Received
from events_core.brokers.formats import format_named
from events_core.describing import payload_schema
from events_core.envelope import Envelope
from events_core.errors import BindError, EventDefinitionError, InvalidEnvelope
from events_core.event_map import EventMap
from events_core.policies import Limit, Rate
from events_core.secret import Secret, is_secret_path, masked, secret_fields, secret_values

VALUE = "tok_live_é+/"


class Credentials(BaseModel):
    user: str
    password: Annotated[str, Secret] = Field(alias="pass")


@dataclass(frozen=True)
class Key:
    name: str
    key: Annotated[str, Secret()]


class Keys(RootModel[list[Annotated[str, Secret]]]): ...


class Opened(DomainEvent, event_type="secret.opened"):
    """A secret at every place where one can be."""

    name: str = "ada"
    token: Annotated[str, Secret]
    aliased: Annotated[str, Secret, Field(alias="event-token")] = VALUE
    pin: Annotated[int, Secret()] = 471147114711
    raw: Annotated[bytes, Secret] = VALUE.encode()
    perhaps: Annotated[str, Secret] | None = VALUE
    either: Annotated[str, Secret] | int = VALUE
    listed: list[Annotated[str, Secret]] = [VALUE]
    pair: tuple[int, Annotated[str, Secret]] = (1, VALUE)
    named: dict[str, Annotated[str, Secret]] = {"k": VALUE}
    model: Credentials = Credentials(user="ada", **{"pass": VALUE})
    models: list[Credentials] = [Credentials(user="ada", **{"pass": VALUE})]
    by_name: dict[str, Credentials | None] = {"a": Credentials(user="ada", **{"pass": VALUE}), "b": None}
    whole: Annotated[Credentials, Secret] = Credentials(user="ada", **{"pass": VALUE})
    key: Key = Key("main", VALUE)
    keys: Keys = Keys([VALUE])
    text: SecretStr = SecretStr(VALUE)
    data: SecretBytes = SecretBytes(VALUE.encode())
    number: PydanticSecret[int] = PydanticSecret(471147114711)
    texts: list[SecretStr] | None = [SecretStr(VALUE)]
    child: Opened | None = None


class Told(NotificationEvent, event_type="secret.told", topic="secrets"):
    name: str = "ada"
    token: Annotated[str, Secret]
    text: SecretStr


OPENED = Opened(token=VALUE, child=Opened(token=VALUE))


def leaks(text: str) -> bool:
    return any(part in text for part in ("tok_live", "dG9rX2xpdmV", "471147114711"))


class TestOnTheWay:
    def test_the_envelope_carries_the_values_and_the_handler_reads_them(self) -> None:
        """Also by aliases, in nested models, and of pydantic's own secrets, bytes included."""
        received = Envelope.parse(json.loads(Envelope.of(OPENED).to_json())).event()
        assert received == OPENED
        assert isinstance(received, Opened)
        assert received.child is not None
        assert received.child.token == VALUE
        assert received.text.get_secret_value() == VALUE
        assert received.data.get_secret_value() == VALUE.encode()

    @pytest.mark.parametrize("name", ["cloudevents", "classic", "flat", "record"])
    def test_so_do_all_formats_of_integration_events(self, name: str) -> None:
        told = Told(token=VALUE, text=VALUE)  # type: ignore[arg-type]
        envelope = Envelope.of(told)
        body = format_named(name).encode(told, envelope, "/shop")
        decoded = format_named(name).decode(Received(body, message_id=envelope.id, type="secret.told", topic="secrets"))
        decoded.version = decoded.version or 1
        event = decoded.event()
        assert isinstance(event, Told)
        assert (event.token, event.text.get_secret_value()) == (VALUE, VALUE)


class TestWhatPeopleRead:
    def test_repr_and_str(self) -> None:
        for shown in (repr(OPENED), str(OPENED), f"{[OPENED]}"):
            assert not leaks(shown)
            assert "token='***'" in shown
            assert "name='ada'" in shown
            assert "Credentials(user='ada', password='***')" in shown

    def test_json_that_is_made_of_an_event(self) -> None:
        """By whomever: what is not put on its way by us has no value."""
        for made in (OPENED.model_dump_json(), to_json(OPENED).decode(), json.dumps(OPENED.model_dump(mode="json"))):
            assert not leaks(made)
            assert '"name":"ada"' in made.replace(": ", ":")

    def test_a_dump_in_python_has_the_value_as_the_event_has_it(self) -> None:
        """So that another event can be made of it."""
        assert Opened.model_validate(OPENED.model_dump(), by_name=True) == OPENED

    def test_errors_of_validation_quote_nothing(self) -> None:
        """Of any event: a secret may have been put into the wrong field."""
        with pytest.raises(ValidationError) as caught:
            Opened(token=["tok_live"], tokn="tok_live", name=471147114711)  # type: ignore[arg-type,call-arg]
        assert "tokn" in str(caught.value)
        assert not leaks(str(caught.value))

    def test_neither_do_warnings_of_what_was_put_in_past_validation(self) -> None:
        wrong = OPENED.model_copy(update={"pin": "tok_live", "text": "tok_live"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "tok_live" in Envelope.of(wrong).data.decode()
        assert not leaks(repr(wrong) + wrong.model_dump_json())

    def test_a_serializer_that_fails(self) -> None:
        """Its text may quote the value, and a traceback would show it as the cause."""

        def fail(value: str) -> str:
            raise ValueError(f"cannot write {value}")

        class Odd(DomainEvent, event_type="secret.odd"):
            token: Annotated[str, Secret, PlainSerializer(fail)]

        with pytest.raises(EventDefinitionError) as caught:
            Envelope.of(Odd(token=VALUE))
        assert "a serializer failed" in str(caught.value)
        assert not leaks("".join(traceback.format_exception(caught.value)))

    def test_a_received_event_that_does_not_fit(self) -> None:
        envelope = Envelope.of(OPENED)
        envelope.data = b'{"token": ["tok_live"]}'
        with pytest.raises(InvalidEnvelope) as caught:
            envelope.event()
        assert not leaks(str(caught.value) + repr(envelope))

    def test_schemas_mark_the_fields(self) -> None:
        """As secrets are marked in OpenAPI; their defaults are left out."""
        schema = payload_schema(Opened)
        assert schema["properties"]["token"] == {"type": "string", "format": "password", "writeOnly": True}
        assert schema["properties"]["pin"] == {"type": "integer", "writeOnly": True}
        assert schema["properties"]["text"] == {"type": "string", "format": "password", "writeOnly": True}
        assert schema["properties"]["whole"] == {"$ref": "#/$defs/Credentials", "writeOnly": True}
        assert schema["$defs"]["Credentials"]["properties"]["password"]["writeOnly"]
        assert "writeOnly" not in schema["properties"]["name"]
        assert not leaks(
            json.dumps([schema["properties"][name] for name in ("token", "aliased", "pin", "raw", "text")])
        )


class TestMasked:
    def test_all_of_them_at_any_depth(self) -> None:
        data = json.loads(Envelope.of(OPENED).data)
        found = masked(Opened, data)
        assert not leaks(json.dumps(found))
        assert found["name"] == "ada"
        assert found["model"] == {"user": "ada", "password": "***"}
        assert found["by_name"] == {"a": {"user": "ada", "password": "***"}, "b": None}
        assert found["pair"] == [1, "***"]
        assert found["key"] == {"name": "main", "key": "***"}
        assert found["child"]["child"] is None
        assert leaks(json.dumps(data))  # a copy

    @pytest.mark.parametrize("data", [{"model": "tok_live"}, {"models": {"a": "tok_live"}}, {"listed": 471147114711}])
    def test_of_data_that_does_not_fit(self, data: dict[str, Any]) -> None:
        assert not leaks(json.dumps(masked(Opened, data)))

    def test_what_the_class_does_not_know(self) -> None:
        """A newer release may call it secret; a class that allows any field has said that it does not."""

        class Open(DomainEvent, event_type="secret.open", extra="allow"):
            pass

        assert masked(Told, {"name": "ada", "newer": "tok_live"}) == {"name": "ada", "newer": "***"}
        assert masked(Open, {"newer": 1}) == {"newer": 1}

    def test_alternatives(self) -> None:
        """A value is masked where any that it could be of calls it secret, and only there."""

        class Card(BaseModel):
            kind: Literal["card"]
            number: Annotated[str, Secret]

        class Cash(BaseModel):
            kind: Literal["cash"]
            amount: int

        class Paid(DomainEvent, event_type="secret.paid"):
            by: Card | Cash | str
            tagged: Annotated[Card | Cash, Field(discriminator="kind")]

        data = {"kind": "card", "number": "1"}, {"kind": "cash", "amount": 1}
        assert masked(Paid, {"by": data[0], "tagged": data[0]})["tagged"] == {"kind": "card", "number": "***"}
        assert masked(Paid, {"by": data[0]})["by"] == {"kind": "card", "number": "***"}
        assert masked(Paid, {"by": data[1], "tagged": data[1]}) == {"by": data[1], "tagged": data[1]}
        assert masked(Paid, {"by": "cheque"}) == {"by": "cheque"}

    def test_the_fields_and_values_by_themselves(self) -> None:
        assert secret_fields(Told) == {"token", "text"}
        assert "name" not in secret_fields(Opened)
        assert {"model", "models", "child", "whole"} <= secret_fields(Opened)
        told = Told(token=VALUE, text="other")  # type: ignore[arg-type]
        assert secret_values(Told, told) == [VALUE, SecretStr("other")]
        assert secret_values(Told, json.loads(Envelope.of(told).data)) == [VALUE, "other"]

    def test_what_is_known_of_a_class_does_not_keep_it(self) -> None:
        class Passing(DomainEvent, event_type="secret.passing"):
            token: Annotated[str, Secret]

        assert secret_fields(Passing) == {"token"}
        kept = weakref.ref(Passing)
        del Passing
        gc.collect()
        assert kept() is None


class TestRefusals:
    def test_a_pydantic_secret_in_a_nested_model(self) -> None:
        """It would go out masked: that model's serializer is not ours."""

        class Login(BaseModel):
            password: SecretStr

        with pytest.raises(EventDefinitionError, match=r"the field 'logins' .* Annotated\[str, Secret\] in .*Login"):
            type("Bad", (DomainEvent,), {"__module__": __name__, "__annotations__": {"logins": list[Login]}})

    @pytest.mark.parametrize("keyword", ["partition_key", "entity_key", "entity_version"])
    def test_a_keyword_that_names_a_secret(self, keyword: str) -> None:
        body = {"__module__": __name__, "__annotations__": {"number": Annotated[int, Secret]}}
        with pytest.raises(EventDefinitionError, match=f"{keyword}='number' names a secret field"):
            type("Bad", (ECSTEvent,), body, **{keyword: "number"})

    @pytest.mark.parametrize(
        "options",
        [
            {"limit": Limit("x", 1, key="token")},
            {"limit": Rate("x", 1, key="model.password")},
            {"ordered_by": "whole.user"},
            {"ordered_by": "model"},
            {"ordered_by": "text"},
        ],
    )
    def test_a_key_that_is_a_secret(self, options: Any) -> None:
        """It would stand in names of Redis keys, and before operators."""
        with pytest.raises(BindError, match="is a secret field of Opened"):
            EventMap().bind(Opened, handle, **options)

    def test_what_stands_beside_a_secret_may_be_a_key(self) -> None:
        EventMap().bind(Opened, handle, ordered_by="model.user", limit=Limit("x", 1, key="name"))
        assert not is_secret_path(Opened, "no.such")


def handle(event: Opened) -> None:
    """A handler."""
