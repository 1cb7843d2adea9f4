"""The thread that receives from one queue: it decodes, hands over to the event loop, and acknowledges what is done."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from events_core.brokers import MessageBroker, Received, Receiver
from events_core.bus.outage import Outage
from events_core.bus.plan import Plan
from events_core.bus.running import Runner
from events_core.bus.settling import Settling
from events_core.bus.sorting import sort
from events_core.bus.statistics import Statistics

logger = logging.getLogger(__name__)

#: Seconds that it waits for messages at most, before it looks around.
_POLL = 1.0
#: Seconds that it has to listen to something else.
_TO_SWITCH = 5.0


class _LoopClosed(Exception):
    """Nobody is there any more to handle anything."""


class ReceivingThread:
    """One queue's. The broker keeps what is not acknowledged: whatever goes wrong in here, it comes again."""

    def __init__(
        self, broker: MessageBroker, plan: Plan, prefetch: int, max_bytes: int, statistics: Statistics
    ) -> None:
        self.plan = plan
        self.settling = Settling(broker, plan.queue, plan.lasting, statistics)
        self.ended = asyncio.Event()
        #: Whether it was woken for outcomes that it has not seen yet.
        self.told = False
        self._broker = broker
        self._kept = broker.promises.delivery == "at least once"
        self._prefetch = prefetch
        self._max_bytes = max_bytes
        self._statistics = statistics
        self._receiver: Receiver | None = None
        self._received_for: Plan | None = None  # the plan that the receiver was made with
        self._declaring = threading.Lock()  # one declaration at a time, and always of the plan in force
        self._stopped, self._switched = threading.Event(), threading.Event()
        self._epoch = 0
        self._outage = Outage(plan.queue, statistics)

    # -- from the event loop and its other threads

    async def start(self, runner: Runner) -> None:
        """Begin to receive for this loop. Raises what `MessageBroker.declare` and the first `receive` raise."""
        self._loop, self._runner = asyncio.get_running_loop(), runner
        connected: asyncio.Future[None] = self._loop.create_future()
        name = f"events-bus-{self.plan.queue}"
        threading.Thread(target=self._run, args=(connected,), name=name, daemon=True).start()
        await connected

    def change(self, plan: Plan) -> None:
        """Hear something else from now on; blocks. Raises what `MessageBroker.declare` raises: then nothing changed."""
        with self._declaring:
            old = self.plan
            self.plan = old.between(plan)
            try:
                self._declare(plan)
            except BaseException:
                self.plan = old
                raise
            self.plan = plan
            self._switched.clear()
        if self._broker.binds_receivers and plan.registrations:
            self.wake()
            if not self._switched.wait(_TO_SWITCH):
                logger.warning("%s: its new events are heard when the handlers that run have ended", plan.queue)

    def stop(self) -> None:
        """Receive nothing more; end when everything that was handed over is settled."""
        self._stopped.set()
        self.wake()

    def wake(self) -> None:
        """Look around now."""
        self.told = True
        receiver = self._receiver
        if receiver is not None:
            receiver.wake()

    # -- in the thread

    def _run(self, connected: asyncio.Future[None]) -> None:
        try:
            try:
                batch = self._connect()
            except BaseException as error:
                self._tell_loop(_fail, connected, error)
                return
            self._tell_loop(_succeed, connected)
            self._receive(batch)
        except _LoopClosed:
            logger.error("%s: the event loop was closed without shutdown(); its events go back", self.plan.queue)
        except BaseException:
            logger.critical("%s: a fault of the bus: nothing is received any more", self.plan.queue, exc_info=True)
            raise
        finally:
            if not connected.cancelled():  # else another one may hear the queue by now
                self._statistics.connected = False
            self._close_receiver()
            try:
                self._tell_loop(self.ended.set)
            except _LoopClosed:
                pass

    def _receive(self, batch: list[Received]) -> None:
        """Until it is to stop, whatever the broker does."""
        while True:
            try:
                self._listen(batch)
                return
            except _LoopClosed:
                raise
            except Exception as error:
                self._lost(error)
            batch = []
            while not self._statistics.connected:
                if self._stopped.wait(self._outage.pause()):
                    return  # without a broker nothing can be acknowledged: it comes again
                try:
                    batch = self._connect()
                except Exception as error:
                    self._lost(error)

    def _connect(self) -> list[Received]:
        """Declare, and receive what is there already."""
        with self._declaring:
            # A receiver may declare its subscription when it connects anew: that must not be an old one.
            if self._received_for is not self.plan:
                self._close_receiver()
            self._declare(self.plan)
            if self._receiver is None:
                self._epoch += 1
                self._receiver = self._broker.receiver(self.plan.subscription, self._prefetch)
                self._received_for = self.plan
            batch = self._receiver.receive(0)
            self._switched.set()
        if not self._stopped.is_set():
            self._outage.end()
        return batch

    def _listen(self, batch: list[Received]) -> None:
        """Until it is to stop. Raises when the connection is lost."""
        while not self._stopped.is_set():
            receiver = self._receiver
            assert receiver is not None
            self._take(batch, receiver)
            self._settle(receiver)
            batch = []
            if self._stopped.is_set():  # what was just given back is not to be received again
                break
            if self._broker.binds_receivers and self._received_for is not self.plan:
                batch = self._switch(receiver)
            else:
                batch = receiver.receive(_POLL)
        assert self._receiver is not None
        if batch:
            self._statistics.given_back += len(batch)
        self._drain(self._receiver, batch)

    def _drain(self, receiver: Receiver, late: list[Received]) -> None:
        """Settle everything that was handed over, and give back what comes late."""
        self._settle(receiver)
        while self.settling.unsettled:
            # It is also what keeps the connection alive. Given back at once, they would come at once.
            late += receiver.receive(_POLL)
            self._settle(receiver)
        if late:
            receiver.give_back(late)

    def _switch(self, receiver: Receiver) -> list[Received]:
        """The plan has changed: finish what runs, and take another receiver."""
        self._tell_loop(self._runner.forget)
        self._drain(receiver, [])
        self.settling.forget()
        return self._connect()

    def _declare(self, plan: Plan) -> None:
        self._broker.declare(plan.subscription, plan.obsolete)
        self.settling.declare()

    def _take(self, batch: Sequence[Received], receiver: Receiver) -> None:
        """Hand those that are for us to the event loop, all at once."""
        if not batch:
            return
        found = sort(batch, self.plan, self._broker.format, self._max_bytes, receiver, self._epoch)
        self._statistics.received += len(batch)
        self._statistics.skipped += len(found.skipped)
        if found.works:
            self.settling.unsettled += len(found.works)
            self._tell_loop(self._runner.take, found.works)
        self.settling.refuse(found.refused)
        if found.skipped:
            receiver.acknowledge(found.skipped)

    def _settle(self, receiver: Receiver) -> None:
        if self._loop.is_closed():
            raise _LoopClosed
        self.told = False  # before looking: what is added after this wakes again
        self.settling.settle(receiver, self._epoch)

    def _lost(self, error: Exception) -> None:
        self._outage.begin(error)
        if self._kept:  # what was not acknowledged comes again: forget it
            self._epoch += 1
            self.settling.forget()
            self._tell_loop(self._runner.forget)
        if not isinstance(error, OSError):
            self._close_receiver()  # who knows in what state it is

    def _close_receiver(self) -> None:
        receiver, self._receiver, self._received_for = self._receiver, None, None
        if receiver is not None:
            receiver.close()

    def _tell_loop(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            raise _LoopClosed from None


def _fail(connected: asyncio.Future[None], error: BaseException) -> None:
    if not connected.done():
        connected.set_exception(error)


def _succeed(connected: asyncio.Future[None]) -> None:
    if not connected.done():
        connected.set_result(None)
