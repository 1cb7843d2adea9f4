"""A Django shop: an order is placed in a transaction, and what follows from it happens on a worker."""
