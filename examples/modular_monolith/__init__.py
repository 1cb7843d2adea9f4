"""One application of six modules that know each other by events; see README.md."""
