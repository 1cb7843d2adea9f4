"""publish-redis: what it costs to emit, per delivery, beside `delay()` with the same content."""

from __future__ import annotations

from benchmarks.publishing import Emitting, three
from benchmarks.rounds import alternate, microseconds
from benchmarks.sides import Rival
from benchmarks.stage import Stage
from benchmarks.table import FASTER, Report, Row, Target


def run(stage: Stage) -> Report:
    """Redis: one event with 3 handlers, and 1,000 of them at once."""
    effort = stage.effort
    report = Report("publish-redis: microseconds per delivery, on Redis")
    broker = stage.redis()
    rival = Rival(broker)
    with Emitting(broker) as emitting:
        one, many, delay, send = alternate(
            effort.rounds(9),
            [
                microseconds(lambda: emitting.system.emit(three()), effort.times(400), per=3),
                microseconds(lambda: emitting.many(1000), 1, per=3000),
                microseconds(emitting.delay, effort.times(400)),
                microseconds(lambda: rival.actors["noop"].send(emitting.envelope), effort.times(400)),
            ],
            between=emitting.drop,
        )
    rival.close()
    against = "delay()"
    report.rows = [
        Row("emit, one event with 3 handlers", "µs", one, delay, against, FASTER, Target("≥", 6.5)),
        Row("emit_many, 1,000 events with 3 handlers", "µs", many, delay, against, FASTER, Target("≥", 20)),
        Row("emit, one event with 3 handlers", "µs", one, send, "dramatiq", FASTER),
        Row("emit_many, 1,000 events with 3 handlers", "µs", many, send, "dramatiq", FASTER),
    ]
    report.remarks = [
        "Ours includes making the event; delay() and dramatiq's send() get the ready envelope. Each of ours is three",
        "tasks, all confirmed when it returns; a ratio of 6.5 is that of one delivery to one delay().",
    ]
    return report
