"""Services that know each other by their events alone; see README.md."""
