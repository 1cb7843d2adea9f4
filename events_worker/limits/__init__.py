"""Admission of runs in the worker: limits, rates, breakers, orders, groups and pauses.

A run that must pass gates asks before it begins and gives them back when it is settled. What may not run is parked in
the coordination Redis: its message is acknowledged, and it holds neither slot nor prefetch.
"""
