"""A group of commands of which one is meant where none is named: `events limits` is `events limits list`."""

from __future__ import annotations

from typing import ClassVar

import click


class ListingGroup(click.Group):
    """Its command `default` is meant where none is named. Options may stand before the command's name too."""

    default: ClassVar[str] = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name first."""
        if not any(arg in ctx.help_option_names for arg in args[:1]):
            named = next((at for at, arg in enumerate(args) if self._is_command(args, at)), None)
            args = [self.default, *args] if named is None else [args[named], *args[:named], *args[named + 1 :]]
        return super().parse_args(ctx, args)

    def _is_command(self, args: list[str], at: int) -> bool:
        return args[at] in self.commands and (at == 0 or args[at - 1] not in ("-A", "--app"))
