"""`python -m examples.two_services.show`: what the services have in their databases."""

from __future__ import annotations

from examples.two_services.ledger import Ledger


def main() -> None:
    """One line for each table."""
    for service, table in (("shipping", "parcels"), ("shipping", "addresses"), ("mail", "letters")):
        ledger = Ledger(service, table)
        print(f"{service}: {len(ledger.values())} {table}, {ledger.repeats()} written again")


if __name__ == "__main__":
    main()
