"""Subscriptions: other services' events become deliveries. One thread for each queue, in the worker's main process."""
