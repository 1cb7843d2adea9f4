"""Two services, a mail with a link, and no token in any event; see README.md."""
