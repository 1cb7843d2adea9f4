"""Admission: which delivery may run now. Limits, rates, breakers, orders and groups are gates that it must pass.

All gates of a delivery are passed at once or not at all, in one script of Redis, which knows no clock but its own. What
must wait is parked there, message and all, and holds no worker, no prefetch and no permit; whatever gives a permit back
is told in the same reply which deliveries may run now, and publishes them. The parts of the script are the `.lua`
files beside this one, put together in the order of their names.
"""
