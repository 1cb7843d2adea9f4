"""One queue of the bus: its receiving thread, and the handlers that run on the event loop."""

from __future__ import annotations

import asyncio
import logging

from events_core.brokers import MessageBroker
from events_core.bus.consumers import Consumer
from events_core.bus.plan import Plan
from events_core.bus.receiving_thread import ReceivingThread
from events_core.bus.running import Runner, Work
from events_core.bus.statistics import Statistics

logger = logging.getLogger(__name__)

#: Seconds after which the thread learns of what is done, where more is to do.
_SOON = 0.05
#: Seconds that the thread has to acknowledge and to end.
_TO_END = 5.0


class Listener:
    """Used on the event loop only.

    consumer: any of the queue's, for the options that they share. max_bytes: of a message.
    """

    def __init__(
        self, broker: MessageBroker, plan: Plan, consumer: Consumer, max_bytes: int, statistics: Statistics
    ) -> None:
        self._statistics = statistics
        self._many = max(consumer.prefetch // 4, 1)
        self._thread = ReceivingThread(broker, plan, consumer.prefetch, max_bytes, statistics)
        self._runner = Runner(consumer.concurrency, consumer.retry, statistics, self._settled)
        self._outcomes = self._thread.settling.outcomes
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Declare the queue and begin to receive. Raises what `MessageBroker.declare` raises.

        When that fails or is cancelled, nothing is heard; the thread ends by itself once the broker answers.
        """
        try:
            await self._thread.start(self._runner)
        except BaseException:
            self._thread.stop()
            self._statistics.connected = False
            await self._runner.stop(0)
            raise

    async def change(self, plan: Plan) -> None:
        """Hear something else from now on. Raises what `MessageBroker.declare` raises; then nothing has changed."""
        await asyncio.to_thread(self._thread.change, plan)

    def end(self) -> None:
        """Receive and begin nothing more."""
        self._thread.stop()
        self._runner.end()

    async def stop(self, timeout: float) -> None:
        """Receive nothing more, finish within `timeout` seconds what runs, and give back the rest."""
        self.end()
        await self._runner.stop(timeout)
        self._thread.wake()
        try:
            async with asyncio.timeout(_TO_END):
                await self._thread.ended.wait()
        except TimeoutError:
            logger.error("%s: the broker does not answer, what was handled may come again", self._thread.plan.queue)

    def _settled(self, work: Work) -> None:
        """Tell the thread: at once where it waits for it, else together with what is done a little later."""
        self._outcomes.append(work)
        if self._thread.told:
            return
        if self._runner.idle or len(self._outcomes) >= self._many:
            self._thread.wake()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._outcomes and not self._thread.told:
            self._thread.wake()
