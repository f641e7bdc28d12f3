"""A queue in memory: order, locks, what is due when."""

from __future__ import annotations

from local.servicebus.entities import FOREVER_MS, QueueProperties
from local.servicebus.queue import ACTIVE, DEFERRED, SCHEDULED, Message, Queue


def message(sequence: int, **changes: object) -> Message:
    values: dict[str, object] = {
        "id": sequence, "sequence": sequence, "state": ACTIVE, "enqueued_at": 0, "visible_at": 0,
        "expires_at": FOREVER_MS, "ttl_ms": None, "delivery_count": 0, "size": 10, "message_id": None,
        "session_id": None, "annotations": b"", "annotation_count": 0, "bare": b"b",
    }  # fmt: skip
    return Message(**{**values, **changes})  # type: ignore[arg-type]


def queue_with(*messages: Message, **properties: object) -> Queue:
    queue = Queue(1, "q", QueueProperties(**properties))  # type: ignore[arg-type]
    for one in messages:
        queue.add(one)
        queue.show(one)
    return queue


def taken(queue: Queue, now: int = 1) -> list[int]:
    found = []
    while (one := queue.take(queue.lane, now)) is not None:
        found.append(one.sequence)
        queue.lock(one, b"%016d" % one.sequence, now + 1000)
    return found


def test_messages_go_by_number_and_a_returned_one_goes_first() -> None:
    queue = queue_with(message(1), message(2), message(3))
    first = queue.take(queue.lane, 1)
    assert first is not None
    queue.lock(first, b"t" * 16, 100)
    assert queue.held(b"t" * 16, 99) is first
    assert queue.held(b"t" * 16, 100) is None
    queue.unlock(first)
    queue.show(first)
    assert taken(queue) == [1, 2, 3]


def test_a_message_shown_twice_is_taken_once() -> None:
    queue = queue_with(message(1))
    queue.show(queue.messages[1])
    assert taken(queue) == [1]


def test_what_is_not_active_or_has_expired_is_not_taken() -> None:
    queue = queue_with(message(1, state=DEFERRED), message(2, state=SCHEDULED, visible_at=50), message(3, expires_at=5))
    assert taken(queue, now=5) == []
    assert [one.sequence for one in queue.due_expiry(5)] == [3]
    assert queue.due_schedule(49) == []
    assert [one.sequence for one in queue.due_schedule(50)] == [2]


def test_what_is_due_is_known_and_said_once() -> None:
    queue = queue_with(message(1), message(2), message(3, expires_at=700))
    assert queue.next_due() == 700
    first, second = queue.messages[1], queue.messages[2]
    queue.lock(first, b"a" * 16, 500)
    queue.lock(second, b"b" * 16, 300)
    assert queue.next_due() == 300
    queue.renew(second, 900)
    assert [one.sequence for one in queue.due_locks(600)] == [1]
    assert queue.due_locks(600) == []
    assert [one.sequence for one in queue.due_locks(900)] == [2]


def test_a_held_message_expires_only_when_it_is_let_go() -> None:
    queue = queue_with(message(1, expires_at=100))
    queue.lock(queue.messages[1], b"a" * 16, 500)
    assert queue.due_expiry(200) == []


def test_locks_that_are_done_with_leave_no_trace() -> None:
    queue = queue_with(*(message(n) for n in range(1, 1001)))
    for number in taken(queue):
        queue.remove(queue.messages[number])
    assert queue.next_due() is None
    assert (queue.size, queue.counts, queue.locks) == (0, [0, 0, 0], {})


def test_what_has_left_is_not_remembered_until_its_time_comes() -> None:
    """One message stays, a thousand that would have lived as long go by, and as many that were taken back."""
    week = 7 * 86_400_000
    queue = queue_with(message(1, expires_at=week))
    for number in range(2, 1002):
        queue.add(message(number, expires_at=week + number))
        queue.add(message(number + 2000, state=SCHEDULED, visible_at=week + number))
        queue.remove(queue.messages[number])
        queue.remove(queue.messages[number + 2000])
    queue.add(message(5000, state=SCHEDULED, visible_at=week + 5))
    assert len(queue._due_expiry) < 100
    assert len(queue._due_schedule) < 100
    assert queue.next_due() == week
    assert [one.sequence for one in queue.due_expiry(week + 2000)] == [1]
    assert [one.sequence for one in queue.due_schedule(week + 2000)] == [5000]


def test_a_scheduled_message_gets_its_place_when_its_time_comes() -> None:
    queue = queue_with(message(1, state=SCHEDULED, visible_at=10), message(2))
    late = queue.messages[1]
    queue.change_state(late, ACTIVE)
    queue.resequence(late, 3)
    queue.show(late)
    assert queue.counts == [2, 0, 0]
    assert taken(queue) == [2, 3]


def test_the_window_of_duplicates() -> None:
    queue = queue_with()
    queue.remember("a", 100)
    queue.remember("b", 200)
    assert queue.is_duplicate("a", 99)
    assert not queue.is_duplicate("a", 100)
    queue.remember("a", 300)
    assert queue.forget_duplicates(250) == ["b"]
    assert queue.is_duplicate("a", 299)
    assert queue.forget_duplicates(300) == ["a"]


def test_a_window_that_was_made_shorter_does_not_wait_for_the_longer_one() -> None:
    queue = queue_with()
    queue.remember("under the old window", 3_600)
    queue.remember("under the new one", 300)
    assert queue.forget_duplicates(300) == ["under the new one"]
    assert queue.is_duplicate("under the old window", 3_599)


def test_sessions_have_lanes_of_their_own_and_go_when_they_are_empty() -> None:
    queue = queue_with(message(1, session_id="a"), message(2, session_id="b"), requires_session=True)
    assert queue.take(queue.lane, 1) is None
    assert queue.has_ready(queue.session("a").lane)
    first = queue.take(queue.session("a").lane, 1)
    assert first is not None
    assert first.sequence == 1
    queue.remove(first)
    assert set(queue.sessions) == {"b"}


def test_dead_letters_neither_expire_nor_go_by_session() -> None:
    dead = queue_with(requires_session=True).dead_letter
    assert dead is not None
    old = message(1, expires_at=1, session_id="a")
    dead.add(old)
    dead.show(old)
    assert dead.due_expiry(100) == []
    assert dead.take(dead.lane, 100) is old
