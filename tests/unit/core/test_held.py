from __future__ import annotations

from mqd.core.fifo import ANY_SIZE
from mqd.core.held import Held
from mqd.core.messages import Message, restored
from mqwire.packs import join_bodies


def message(number, text="x"):
    return Message(number, join_bodies([text]), None, 0, 0)


def take(held, most):
    return held.take(held.first()[1], most, ANY_SIZE, 1)


def test_ready_messages_come_in_the_order_of_their_ids_up_to_a_break():
    held = Held()
    for number in (5, 2, 9, 3):
        held.add_ready(message(number))
    assert [take(held, 9).first_id for _ in range(3)] == [2, 5, 9]
    assert held.first() is None
    assert held.ready_bytes == 0


def test_a_message_may_leave_from_the_middle_and_come_back():
    held = Held()
    for number in (1, 2, 3):
        held.add_ready(message(number))
    again = held.remove_ready(1)
    assert held.first() == (2, 2)
    held.add_ready(again)
    assert take(held, 9).count == 3
    assert held.first() is None


def test_ids_that_have_gone_do_not_pile_up():
    held = Held()
    held.add_ready(message(1))
    for number in range(2, 10_000):
        held.add_ready(message(number))
        held.remove_ready(number)
    assert len(held._lanes) < 100
    assert held.first() == (1, 1)


def test_a_message_is_exported_whole():
    told = message(4, "body")
    told.deliveries, told.attempts, told.losses, told.due_ms = 4, 3, 2, 1
    assert restored(told.export()).export() == told.export()
