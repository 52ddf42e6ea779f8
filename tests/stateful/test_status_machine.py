"""Where messages are said to be, along the random lives that `test_job_machine` leads them through."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import invariant

from mqd.core.looking import look
from mqd.core.status import Survey
from stateful.test_job_machine import JobMachine

STATES = ("ready", "delayed", "leased", "dead")


def in_order(queue):
    """Return the ids of what is ready in the order of delivery, but for what goes by age."""
    return sorted(queue.ids("ready"), key=lambda number: -queue.jobs[number].priority)


class StatusMachine(JobMachine):
    def survey(self, broker, name):
        queue = broker.queue(name)
        target = queue.dead_letter
        return Survey(queue, broker.queue(target) if target in broker else None, self.now_ms)

    @invariant()
    def each_message_is_where_it_is_said_to_be(self):
        for broker in (self.broker, self.shadow):
            for name, queue in self.queues.items():
                survey = self.survey(broker, name)
                for number, job in queue.jobs.items():
                    status = survey.find(number)
                    assert status.state == job.state
                    if status.message is not None:
                        assert status.message.piece == job.piece
                        assert status.message.deliveries == job.deliveries
                    if job.state == "delayed":
                        assert status.due_ms == job.due_ms
                ready = in_order(queue)
                assert [survey.find(number).position for number in ready] == list(range(len(ready)))
                for seq, lease in self.leases.items():
                    if lease.queue == name:
                        assert {survey.find(number).lease.seq for number in lease.ids} == {seq}

    @invariant()
    def what_has_left_is_gone_or_where_it_went(self):
        for name, queue in self.queues.items():
            survey = self.survey(self.broker, name)
            assert survey.find(queue.next_id).state == survey.find(0).state == "unknown"
            for number in set(range(1, queue.next_id)) - set(queue.jobs):
                status = survey.find(number)
                if status.state == "gone":
                    continue
                assert status.state == "dead"
                job = self.queues[status.moved_to].jobs[status.message.message_id]
                assert job.origin == (name, number)

    @invariant()
    def looking_shows_every_message_once(self):
        for name, queue in self.queues.items():
            real = self.broker.queue(name)
            for state in STATES:
                seen = list(look(real, state, 0))
                numbers = [each.message_id for each in seen]
                assert sorted(numbers) == queue.ids(state)
                assert [each.piece for each in seen] == [queue.jobs[n].piece for n in numbers]
                assert [each.headers for each in seen] == [queue.jobs[n].headers for n in numbers]
                if state == "ready":
                    assert numbers == in_order(queue)
                if state == "delayed":
                    assert [each.due_ms for each in seen] == [queue.jobs[n].due_ms for n in numbers]
                for skip in range(1, len(seen) + 2):
                    later = [each.message_id for each in look(real, state, skip)]
                    assert later == numbers[skip:]


StatusMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStatus = StatusMachine.TestCase
