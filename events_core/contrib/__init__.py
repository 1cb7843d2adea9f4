"""Adapters for web frameworks, each imported by who uses it: `fastapi`, `flask`, `django`. See docs/web.md."""
