"""From a queue to a function: receive, run, complete on return, abandon on failure.

A receiver of the SDK serves one task at a time, so each worker has its own. One worker listens on the queue; a function
that is still running after a moment makes the pump add another, up to `maxConcurrentCalls`; one that finds nothing to do
for a while ends if another listens.

    worker 1   receive |--- run function (slow) ---| complete   receive ...
    worker 2            (moment) receive |--- run ---| complete   receive ... (quiet) end
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from local.functions_host.broker.convert import is_batch, trigger_value
from local.functions_host.broker.ports import Broker, BrokerError, Message, Receiver
from local.functions_host.hostjson import ServiceBusOptions
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.log import LiveLog
from local.functions_host.model import Function
from local.functions_host.outputs import Outputs

_PATIENCE = 0.02  # seconds a call may run before another worker is added
_QUIET_SECONDS = 30.0  # a worker beside another that listens ends after this long without a message
_WAIT_SECONDS = 10.0  # of one receive call; a stop does not wait for it
_REOPEN_SECONDS = 600.0  # a link that was silent this long is opened anew: a dead peer looks like an empty queue
_BACKOFF = (1.0, 2.0, 4.0, 8.0, 15.0)
_LEAST_RENEWAL = 1.0


class QueuePump:
    """Feeds one function from its queue."""

    def __init__(
        self,
        function: Function,
        queue: str,
        broker: Broker,
        options: ServiceBusOptions,
        *,
        invoker: Invoker,
        outputs: Outputs,
        log: LiveLog,
    ) -> None:
        self.function, self.queue = function, queue
        self._broker, self._options = broker, options
        self._invoker, self._outputs, self._log = invoker, outputs, log
        self._batch = is_batch(function)
        self._most = 1 if self._batch else options.concurrent_calls
        self._workers: set[asyncio.Task[None]] = set()
        self._listening = 0
        self._complaint = ""
        self.last_turn = time.monotonic()

    def start(self) -> None:
        """Begin to receive."""
        self._add_worker()

    async def stop(self) -> None:
        """End; a call in flight is cancelled and its message comes again."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _add_worker(self) -> None:
        task = asyncio.get_running_loop().create_task(self._work())
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """One worker: open a link, use it until it fails or was silent too long, open the next.

        It ends when another worker listens: there is always one that does, or that waits to try again.
        """
        failures = 0
        while True:
            receiver = self._broker.receiver(self.queue)
            try:
                await self._use(receiver)
                failures = 0
            except BrokerError as error:
                if self._listening == 0:
                    self._complain(str(error))
                    async with self._counted():
                        await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                    failures += 1
            finally:
                await asyncio.shield(receiver.close())
            if self._listening > 0:
                return

    async def _use(self, receiver: Receiver) -> None:
        """Receive and run until the link was silent too long. Raises BrokerError."""
        silent_since = time.monotonic()
        while time.monotonic() - silent_since < (_QUIET_SECONDS if self._listening > 0 else _REOPEN_SECONDS):
            async with self._counted():
                messages = await self._receive(receiver)
            self.last_turn = time.monotonic()
            self._recovered()
            if messages:
                await self._handle(receiver, messages)
                silent_since = time.monotonic()

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        """While a worker listens, or waits to try again."""
        self._listening += 1
        try:
            yield
        finally:
            self._listening -= 1

    async def _receive(self, receiver: Receiver) -> list[Message]:
        if not self._batch:
            return await receiver.receive(1, _WAIT_SECONDS)
        options = self._options
        messages = await receiver.receive(options.batch_size, _WAIT_SECONDS)
        deadline = time.monotonic() + options.batch_wait
        while 0 < len(messages) < options.batch_minimum and (left := deadline - time.monotonic()) > 0:
            messages += await receiver.receive(options.batch_size - len(messages), left)
        return messages

    async def _handle(self, receiver: Receiver, messages: list[Message]) -> None:
        """Run the function on one delivery and settle it. Raises BrokerError if the link breaks while settling."""
        start = time.perf_counter()
        grow = asyncio.get_running_loop().call_later(_PATIENCE, self._grow)
        renewal = asyncio.create_task(self._keep_locked(receiver, messages))
        error: str | None = None
        try:
            value = trigger_value(self.function, messages)
            _, outputs = await self._invoker.call(
                self.function, value, traceparent=str(messages[0].properties.get("Diagnostic-Id", "")) or None
            )
            if outputs:
                await self._outputs.send(outputs)
        except InvocationFailed as failure:
            error = failure.told
        except (ValueError, TypeError, NotImplementedError) as failure:  # the message does not fit the parameter
            error = str(failure)
        finally:
            grow.cancel()
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewal
        self._tell(messages, time.perf_counter() - start, error)
        if error is not None:
            for message in messages:
                await receiver.abandon(message)
        elif self._options.auto_complete:
            for message in messages:
                await receiver.complete(message)

    async def _keep_locked(self, receiver: Receiver, messages: list[Message]) -> None:
        """Renew the locks at half their life, for at most `maxAutoLockRenewalDuration`."""
        until = time.monotonic() + self._options.lock_renewal
        while messages[0].locked_until is not None:
            now = datetime.now(UTC)
            left = min((message.locked_until or now) - now for message in messages).total_seconds()
            pause = max(_LEAST_RENEWAL, left / 2)
            if time.monotonic() + pause > until:
                return
            await asyncio.sleep(pause)
            renewed: list[Message] = []
            for message in messages:
                try:
                    renewed.append(message._replace(locked_until=await receiver.renew(message)))
                except BrokerError as error:
                    self._log.error(
                        f"queue {self.queue}: the lock of message {message.message_id} could not be renewed: {error}"
                    )
                    return
            messages = renewed

    def _grow(self) -> None:
        """A call is taking its time: have someone else wait on the queue."""
        if self._listening == 0 and len(self._workers) < self._most:
            self._add_worker()

    def _tell(self, messages: list[Message], seconds: float, error: str | None) -> None:
        what = f"{self.queue} x{len(messages)}" if self._batch else f"{self.queue} {messages[0].message_id}"
        if not self._batch and messages[0].delivery_count > 1:
            what += f" (delivery {messages[0].delivery_count})"
        self._log.invocation("queue", what, self.function.name, seconds, error)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            self._log.error(f"queue {self.queue} for {self.function.name}: {text}; trying again until it answers")

    def _recovered(self) -> None:
        if self._complaint:
            self._complaint = ""
            self._log.host(f"queue {self.queue} for {self.function.name}: answers again")
