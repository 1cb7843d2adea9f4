"""The mail service. It imports nothing of the user service: an event's name and a URL are all that they share."""
