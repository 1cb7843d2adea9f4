"""`events schema` and `events asyncapi`, on an application with events of both kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.shop import Shop

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "asyncapi" / "3.0.0.json"
SOURCE = '''
from pydantic import BaseModel

from events_core import DomainEvent, EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker

events = EventSystem("shop", message_broker=ExchangeBroker("amqp://shop:hidden@rabbit:5672/live"))


class Address(BaseModel):
    street: str


class Placed(DomainEvent, event_type="order.placed"):
    email: str


class Confirmed(NotificationEvent, event_type="order.confirmed", topic="orders"):
    """An order was confirmed."""

    order_id: int
    address: Address


class ConfirmedV2(NotificationEvent, event_type="order.confirmed", version=2, topic="orders"):
    order_id: int
    addresses: list[Address]


class Shipped(NotificationEvent, event_type="parcel/shipped", topic="shipping"):
    number: int


@events.subscriber(events=[Shipped])
def tell(event: Shipped) -> None: ...
'''


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.at(tmp_path, "redis://localhost:1/0", source=SOURCE)


def printed(shop: Shop, *args: str) -> Any:
    ran = shop.events(*args)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def change(shop: Shop, old: str, new: str) -> Shop:
    """Another version of the application."""
    source = (shop.folder / "shop.py").read_text()
    assert old in source
    (shop.folder / "shop.py").write_text(source.replace(old, new))
    return shop


def identities(schemas: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(schema["x-event"]["type"], schema["x-event"]["version"]) for schema in schemas]


class TestShow:
    def test_all_integration_events(self, shop: Shop) -> None:
        schemas = printed(shop, "schema")
        assert identities(schemas) == [("order.confirmed", 1), ("order.confirmed", 2), ("parcel/shipped", 1)]
        for schema in schemas:
            jsonschema.Draft202012Validator.check_schema(schema)

    def test_domain_events_on_request(self, shop: Shop) -> None:
        assert ("order.placed", 1) in identities(printed(shop, "schema", "--domain"))
        assert printed(shop, "schema", "order.placed")["x-event"]["kind"] == "domain_event"

    def test_one_event(self, shop: Shop) -> None:
        """The newest version unless another is named; a document that stands for itself."""
        assert printed(shop, "schema", "order.confirmed")["x-event"]["version"] == 2
        first = printed(shop, "schema", "show", "order.confirmed", "--version", "1", "-A", "shop:events")
        assert first["description"] == "An order was confirmed."
        jsonschema.validate({"order_id": 1, "address": {"street": "Elm St"}}, first)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"order_id": 1, "address": {}}, first)

    def test_a_whole_message(self, shop: Shop) -> None:
        schema = printed(shop, "schema", "order.confirmed", "--format", "cloudevents")
        assert schema["properties"]["source"] == {"const": "/shop"}
        assert schema["properties"]["data"]["required"] == ["order_id", "addresses"]
        received = printed(shop, "schema", "parcel/shipped", "--format", "cloudevents")
        assert "const" not in received["properties"]["source"]

    def test_one_file_each(self, shop: Shop) -> None:
        ran = shop.events("schema", "--output", "schemas/events")
        assert (ran.returncode, ran.stderr) == (0, "")
        folder = shop.folder / "schemas" / "events"
        names = ["order.confirmed.v1.json", "order.confirmed.v2.json", "parcel%2Fshipped.v1.json"]
        assert sorted(path.name for path in folder.iterdir()) == names
        assert json.loads((folder / names[1]).read_text()) == printed(shop, "schema", "order.confirmed")

    def test_files_of_events_that_are_gone_are_told_of(self, shop: Shop) -> None:
        shop.events("schema", "--output", "schemas")
        ran = change(shop, "parcel/shipped", "parcel.shipped").events("schema", "--output", "schemas")
        assert "parcel%2Fshipped.v1.json" in ran.stderr
        assert (shop.folder / "schemas" / "parcel%2Fshipped.v1.json").exists()

    @pytest.mark.new_processes  # each with an order of sets of its own
    def test_the_same_each_time(self, shop: Shop) -> None:
        assert shop.events("schema", "--domain").stdout == shop.events("schema", "--domain").stdout

    @pytest.mark.parametrize(
        ("args", "code", "said"),
        [
            (("order.confirmd",), 1, "did you mean order.confirmed"),
            (("order.confirmed", "--version", "3"), 1, "no version 3 here, only 1, 2"),
            (("--version", "1"), 2, "name the event"),
            (("order.placed", "--format", "flat"), 2, "is a domain event"),
            (("--domain", "--format", "flat"), 2, "leave one out"),
            (("--output", "shop.py/below"), 1, "cannot be written to"),
        ],
    )
    def test_what_cannot_be(self, shop: Shop, args: tuple[str, ...], code: int, said: str) -> None:
        ran = shop.events("schema", *args)
        assert (ran.returncode, ran.stdout) == (code, "")
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr


class TestDiff:
    @pytest.fixture
    def old(self, shop: Shop) -> str:
        assert shop.events("schema", "--output", "old").returncode == 0
        return "old"

    def test_nothing_changed(self, shop: Shop, old: str) -> None:
        ran = shop.events("schema", "diff", old)
        assert (ran.returncode, ran.stdout) == (0, "0 changes, 0 breaking\n")

    def test_a_harmless_change(self, shop: Shop, old: str) -> None:
        ran = change(shop, "    number: int", '    number: int\n    note: str = ""').events("schema", "diff", old)
        assert ran.returncode == 0
        assert "parcel/shipped version 1" in ran.stdout
        assert "1 changes, 0 breaking" in ran.stdout

    def test_a_breaking_change(self, shop: Shop, old: str) -> None:
        changed = change(shop, "    street: str", "    road: str")
        ran = changed.events("schema", "diff", old, "--json")
        assert ran.returncode == 1
        shown = json.loads(ran.stdout)
        assert shown["breaking"] is True
        assert shown["changes"][1] == {
            "event_type": "order.confirmed",
            "version": 1,
            "path": "address.street",
            "change": "field-removed",
            "breaks": ["consumers"],
            "text": "removed",
        }
        ran = changed.events("schema", "diff", old)
        assert ran.returncode == 1
        assert "addresses[].street" in ran.stdout
        assert "4 changes, 4 breaking" in ran.stdout

    def test_a_new_version_beside_the_old_one_is_the_way(self, shop: Shop, old: str) -> None:
        source = (shop.folder / "shop.py").read_text()
        new = (
            source
            + '\n\nclass Third(NotificationEvent, event_type="order.confirmed", version=3, topic="orders"): ...\n'
        )
        (shop.folder / "shop.py").write_text(new)
        ran = shop.events("schema", "diff", old)
        assert ran.returncode == 0
        assert "version 3 added" in ran.stdout

    def test_an_upcaster_reads_what_was_written_by_a_version_that_is_gone(self, shop: Shop, old: str) -> None:
        changed = change(shop, "class Confirmed(", "class Gone(DomainEvent): ...\n\n\nclass Confirmed(")
        source = (shop.folder / "shop.py").read_text()
        before, _, rest = source.partition("class Confirmed(")
        (shop.folder / "shop.py").write_text(before + rest[rest.index("class ConfirmedV2(") :])
        (gone,) = json.loads(changed.events("schema", "diff", old, "--json").stdout)["changes"]
        assert (gone["change"], gone["breaks"]) == ("version-removed", ["consumers", "producers"])
        with (shop.folder / "shop.py").open("a") as file:
            file.write('\n\n@events.upcaster("order.confirmed", from_version=1)\ndef newer(data: dict) -> dict: ...\n')
        (gone,) = json.loads(changed.events("schema", "diff", old, "--json").stdout)["changes"]
        assert (gone["change"], gone["breaks"]) == ("version-removed", ["consumers"])

    def test_two_files_need_no_application(self, shop: Shop) -> None:
        for name in ("old.json", "new.json"):
            (shop.folder / name).write_text(shop.events("schema", "--domain").stdout)
            change(shop, "    email: str", "    email: str | None") if name == "old.json" else None
        ran = shop.events("schema", "diff", "old.json", "new.json", env={"EVENTS_APP": None})
        assert ran.returncode == 1
        assert "may be null now" in ran.stdout

    def test_of_one_event(self, shop: Shop) -> None:
        """Who asked for one is not told of the others."""
        (shop.folder / "old.json").write_text(shop.events("schema", "parcel/shipped").stdout)
        assert shop.events("schema", "diff", "old.json").returncode == 0
        ran = change(shop, "    number: int", "    number: str").events("schema", "diff", "old.json")
        assert ran.returncode == 1
        assert "integer became string" in ran.stdout
        assert "order.confirmed" not in ran.stdout

    def test_domain_events_where_the_old_ones_have_them(self, shop: Shop) -> None:
        (shop.folder / "old.json").write_text(shop.events("schema", "--domain").stdout)
        assert shop.events("schema", "diff", "old.json").returncode == 0

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            (None, "there is no old.json"),
            ("{", "is no JSON"),
            ("[{}]", "without 'x-event'"),
            ('[{"x-event": {"type": "a", "version": 1, "format": "flat"}}]', "without --format"),
            (
                '[{"x-event": {"type": "a", "version": 1}}, {"x-event": {"type": "a", "version": 1}}]',
                "two schemas of a",
            ),
            ('[{"x-event": {"type": "order.confirmed", "version": 1}, "$ref": "#/$defs/a"}]', "leads nowhere"),
            ('[{"x-event": {"type": "order.confirmed", "version": 1}, "properties": 3}]', "is no JSON Schema"),
        ],
    )
    def test_what_cannot_be_compared(self, shop: Shop, written: str | None, said: str) -> None:
        """2, so that nobody takes it for a breaking change."""
        if written is not None:
            (shop.folder / "old.json").write_text(written)
        ran = shop.events("schema", "diff", "old.json")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_an_application_that_does_not_load(self, shop: Shop, old: str) -> None:
        change(shop, "    number: int", "    number: itn")
        ran = shop.events("schema", "diff", old)
        assert ran.returncode == 2
        assert "shop cannot be imported" in ran.stderr

    def test_an_empty_folder(self, shop: Shop) -> None:
        (shop.folder / "none").mkdir()
        ran = shop.events("schema", "diff", "none")
        assert (ran.returncode, "holds no .json file" in ran.stderr) == (2, True)


class TestAsyncApi:
    def test_it_is_valid(self, shop: Shop) -> None:
        ran = shop.events("asyncapi", "--app-version", "1.2.0")
        assert ran.returncode == 0, ran.stderr
        document = json.loads(ran.stdout)
        assert (document["info"]["title"], document["info"]["version"]) == ("shop", "1.2.0")
        validator = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text()))
        assert [error.message[:200] for error in validator.iter_errors(document)] == []
        assert {"send.order.confirmed", "receive.shop.tell"} <= set(document["operations"])
        assert "hidden" not in ran.stdout

    def test_into_a_file(self, shop: Shop) -> None:
        assert shop.events("asyncapi", "--output", "asyncapi.json").returncode == 0
        assert (shop.folder / "asyncapi.json").read_text() == shop.events("asyncapi").stdout

    def test_no_message_broker(self, shop: Shop) -> None:
        ran = change(shop, ', message_broker=ExchangeBroker("amqp://shop:hidden@rabbit:5672/live")', "").events(
            "asyncapi"
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "message_broker=" in ran.stderr
