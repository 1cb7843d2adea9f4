"""Orders: their model, their events, and what follows from these."""
