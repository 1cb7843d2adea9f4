"""Examples, run from the project's folder. A package, so that no other `examples` on the path takes its place."""
