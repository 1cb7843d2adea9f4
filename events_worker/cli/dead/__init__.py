"""`events dead`: the deliveries that will not be tried again by themselves."""

from __future__ import annotations

import click

from events_worker.cli.dead.discard import discard
from events_worker.cli.dead.list import list_
from events_worker.cli.dead.redrive import redrive_
from events_worker.cli.dead.show import show


@click.group()
def dead() -> None:
    """Look at dead letters, redrive or discard them."""


for command in (list_, show, redrive_, discard):
    dead.add_command(command)
