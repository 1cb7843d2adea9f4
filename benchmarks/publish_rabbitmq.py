"""publish-rabbitmq: a whole emit beside one `delay()`, confirmed and not."""

from __future__ import annotations

from benchmarks.apps import rival
from benchmarks.publishing import Emitting, three
from benchmarks.rounds import Measure, alternate, microseconds
from benchmarks.sides import Plain, Rival
from benchmarks.stage import Stage
from benchmarks.table import FASTER, Report, Row, Target


def run(stage: Stage) -> Report:
    """RabbitMQ: one event with 3 handlers, and 1,000 of them at once."""
    effort = stage.effort
    times = effort.times(200)
    report = Report("publish-rabbitmq: microseconds, on RabbitMQ")
    broker = stage.rabbitmq()
    with Emitting(broker) as emitting:
        unconfirmed = Plain(broker, confirmed=False)
        task = unconfirmed.app.tasks["plain.noop"]
        measures: list[Measure] = [
            microseconds(lambda: emitting.system.emit(three()), times),
            microseconds(lambda: emitting.many(1000), 1, per=3000),
            microseconds(emitting.delay, times),
            microseconds(lambda: task.delay(emitting.envelope), times),
        ]
        reason = rival.missing(broker.url)
        if reason is None:
            actor = Rival(broker).actors["noop"]
            measures.append(microseconds(lambda: actor.send(emitting.envelope), times))
        emit, many, delay, loose, *sent = alternate(effort.rounds(9), measures, between=emitting.drop)
        unconfirmed.close()
    report.rows = [
        Row(
            "emit of one event with 3 handlers: the whole",
            "µs",
            emit,
            delay,
            "delay() confirmed",
            target=Target("≤", 1.3),
        ),
        Row("emit_many of 1,000: per delivery", "µs", many, delay, "delay() confirmed", FASTER, Target("≥", 5)),
        Row("emit of one event with 3 handlers: the whole", "µs", emit, loose, "delay() unconfirmed"),
        Row("emit_many of 1,000: per delivery", "µs", many, loose, "delay() unconfirmed", FASTER),
    ]
    if sent:
        report.rows.append(Row("emit_many of 1,000: per delivery", "µs", many, sent[0], "dramatiq confirmed", FASTER))
    report.remarks = [
        "A whole emit: our time for three confirmed tasks divided by theirs for one (1 is three times faster).",
        "Per delivery: how many times faster. An unconfirmed delay() is lost if the broker goes away just then.",
        *([reason] if reason else []),
    ]
    return report
