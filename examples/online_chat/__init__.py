"""An online chat: browsers on several server processes talk with one another; see README.md."""
