"""Looking at what workers do."""
