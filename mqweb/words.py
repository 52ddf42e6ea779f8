"""What a field means, wherever it stands in a request or an answer. Floor 2: data only.

One word stands for one idea, in all forms and shapes alike, so it is explained once. Where it
means something of its own in one of them, that is said as `Class.field`, or beside the field. The
OpenAPI document is made with these texts; bounds and defaults stand in it by themselves.

Times that end in `_at` are in seconds since 1970-01-01 UTC, with fractions.
"""

from __future__ import annotations

from typing import Final

MEANINGS: Final[dict[str, str]] = {
    # Queues and their messages
    "queue": "Name of the queue.",
    "queues": "The queues, by name.",
    "id": "The message's id: a number in its queue, counted up from 1 and never used again.",
    "ids": "Ids of the messages, if not all that the lease holds are meant.",
    "messages": "The messages, in the order in which they were found.",
    "body": "The body: a JSON value; with an `encoding`, a string.",
    "encoding": "What the body is: a JSON document (`json`), or a string that holds text (`text`) "
    "or bytes (`base64`). `json` where it is left out.",
    "headers": 'Headers by name: scalars, or `{"base64": "..."}` for bytes.',
    "state": "State of the messages: `ready`, `delayed`, `leased` or `dead`.",
    "pattern": "A name, with `*` for any characters and `?` for one; all where it is left out.",
    "max": "Most messages that come.",
    "skip": "How many are passed over first.",
    "durability": "What the answer waits for: `accepted` (in memory), `written` (given to the "
    "kernel, survives a killed server) or `synced` (on the disk, survives a power loss); the "
    "queue's own level where it is not said.",
    # Pushes
    "priority": "From 0 to 255; messages with higher ones are delivered first. 128 where it is "
    "not said.",
    "delay": "Seconds for which messages are kept back before they are ready; 0 or nothing for "
    "not at all.",
    "not_before": "Until when messages are kept back, in seconds since 1970-01-01 UTC; not "
    "together with `delay`.",
    "ttl": "Seconds for which messages may wait until they expire; the queue's `ttl_seconds` "
    "where it is not said, or where that is less.",
    "max_attempts": "After so many failures a message is dead; what its queue says where it is "
    "left out.",
    "max_worker_losses": "After so many lost workers a message is dead; what its queue says where "
    "it is left out.",
    "first": "Id of the first message; the others have the ids that follow.",
    "is_repeat": "Whether the same push had come before, known by its `Idempotency-Key`: then "
    "nothing was pushed now.",
    # Deliveries
    "wait": "Seconds to wait for something; 0 not to wait. More than the gateway grants is cut.",
    "deliveries": "How often it was handed out, this time included.",
    "attempts": "How often it has failed, as its budget `max_attempts` counts.",
    "losses": "How often its worker was lost, as its budget `max_worker_losses` counts.",
    "lease": "Id of the lease that it is under; where there is none it is left out.",
    "leased_at": "When the lease was given.",
    "deadline_at": "When the lease ends, unless it is extended.",
    "due_at": "When it becomes ready; of delayed ones alone.",
    "holder": "Who holds the lease: user and instance. All who work over HTTP as one user are "
    "one holder.",
    "count": "How many messages.",
    "seconds": "How many seconds the lease has from now on.",
    "reason": "Why, in words that are kept with the message; of a long text the end is kept.",
    "hand_back": "The messages have not failed: they take their old places, and no attempt is "
    "spent.",
    "lost": "Their worker was lost: that counts for `max_worker_losses`, not for `max_attempts`.",
    "result": "What the worker gave back with its ack; a JSON value, or a string with "
    "`result_encoding`.",
    "result_encoding": "What `result` is where it is no JSON document: `text`, or bytes as "
    "`base64`.",
    "results": "For each part, in order: how many messages it settled, or the first id that it "
    "pushed.",
    "parts": "What is to be done, in this order: all of it, or nothing.",
    "do": "What this part does.",
    # What became of messages
    "position": "Of a ready one: how many would be delivered before it.",
    "user": "Name of the user.",
    "client": "Name and version of the holder's client; empty where it has not said.",
    "host": "The machine that the holder said to be on; empty where it has not said.",
    "peer": "The address that the holder's connection came from; behind a gateway that is the "
    "gateway's.",
    "is_cancelled": "Whether it was cancelled while it was worked on: it is not tried again.",
    "is_connected": "Whether mqd has a connection of the holder.",
    "cause": "Why it is dead, in a word: `nack` (it failed), `reject`, `expired` (its lease ran "
    "out), `gone` (its worker was lost) or `ttl` (it had waited too long).",
    "error": "What its worker said when it failed last.",
    "ended_at": "When it came to its end.",
    "moved_to": "Where it is now, if it went to another queue.",
    "history": "Its deliveries that ended otherwise than with an ack, the oldest first.",
    "origin": "Of a dead letter: where it came from.",
    "owner": "Who held the message then: a text, or what is known of it by name.",
    "pushed_at": "When it was first pushed.",
    "removed": "How many messages were removed.",
    "marked": "How many are under leases: their holders are told, and they are not tried again.",
    "moved": "How many messages are tried again.",
    "statuses": "Where each message is, in the order of the ids that were asked for.",
    "holders": "The leases, the oldest first.",
    # Figures of queues
    "ready": "Messages that wait to be delivered.",
    "delayed": "Messages that are kept back until a time.",
    "leased": "Messages that somebody works on.",
    "dead": "Messages that are past a budget, or rejected, and have stayed.",
    "bytes": "Size of the ready messages in bytes, bodies and headers as they are encoded.",
    "waiting": "Pulls that wait for messages at the moment.",
    "is_paused": "Whether delivery is stopped.",
    "pushed": "Messages pushed since the queue was created.",
    "pulled": "Messages pulled without a lease since the queue was created. Plain pulls over HTTP "
    "count as `acked`: there is a lease underneath.",
    "acked": "Messages acknowledged since the queue was created; plain pulls over HTTP are among "
    "them.",
    "purged": "Messages purged since the queue was created.",
    "expired": "Messages that waited longer than they might since the queue was created, and were "
    "dropped.",
    "cancelled": "Messages cancelled since the queue was created.",
    "oldest_age_seconds": "For how many seconds the oldest ready message has waited; null where "
    "there is none.",
    "oldest_delayed_age_seconds": "For how many seconds the oldest delayed message has been so; "
    "null where there is none.",
    "oldest_leased_age_seconds": "How many seconds ago the oldest lease was given; null where "
    "there is none.",
    "oldest_dead_age_seconds": "For how many seconds the longest dead message has been so; null "
    "where there is none.",
    "created_at": "When the queue was created.",
    "options": "All that the queue was created with, by name.",
    # Options of queues
    "max_messages": "Most messages that the queue holds: past that pushes are refused with "
    "QUEUE_FULL. The server's bound where it is not said.",
    "max_bytes": "Most bytes that the queue holds, bodies and headers together: past that pushes "
    "are refused with QUEUE_FULL. The server's bound where it is not said.",
    "dead_letter": "The queue that dead messages move to; null where they stay.",
    "backoff": "How a message that has failed is kept back: `none` (it is ready at once), `fixed`, "
    "`linear` or `exponential`. The server's where it is not said.",
    "backoff_seconds": "For how many seconds after the first failure; 1 where it is not said. "
    "After the n-th as many (`fixed`), n times (`linear`), or 2^(n-1) times as many "
    "(`exponential`).",
    "backoff_cap_seconds": "And for how many seconds at most; 3600 where it is not said.",
    "backoff_jitter": "What part of that, from 0 to 1, chance may take off, so that failures "
    "together do not come back together; 0 where it is not said.",
    "ttl_seconds": "Seconds for which messages may wait, delayed or ready, until they expire; for "
    "ever where it is not said.",
    "on_expiry": "What becomes of messages that expire: they are dropped (`drop`), or become dead "
    "(`dead_letter`). `drop` where it is not said.",
    "max_leased": "While so many messages are under leases no more are delivered; no bound where "
    "it is not said.",
    "expires_seconds": "The queue is deleted with its messages when nobody has used it for so "
    "many seconds; never where it is not said.",
    "dedupe_seconds": "Seconds for which the keys of pushes are remembered; 0 for not at all, 600 "
    "where it is not said.",
    "keep_results_seconds": "Seconds for which the queue remembers what became of messages that "
    "have left it, with their results; not at all where it is not said.",
    # Tasks
    "task": "What is to be done: a JSON value; with an `encoding`, a string.",
    "tasks": "The tasks.",
    # Users and tokens
    "users": "The users, by name.",
    "role": "What the user may do: `user` (or `basic`) looks, `agent` (or `manager`) pushes, pulls "
    "and looks, `secretary` looks and manages users, `admin` (or `administrator`) does all.",
    "password": "The password.",
    "old": "The password as it is.",
    "new": "The password as it is to be.",
    "disabled": "Whether the user cannot come in any more; what it holds is kept. As it is where "
    "this is left out.",
    "is_disabled": "Whether the user cannot come in.",
    "is_managed": "Whether the user can be changed here; others stand in the server's "
    "configuration.",
    "made_at": "When it was made; null for users of the configuration.",
    "changed_at": "When it was changed last; null for users of the configuration.",
    "tokens": "The tokens; never what they are, only what is known of them.",
    "token": "The token itself. It is told this once, so keep it, and keep it secret.",
    "token_type": "How it is sent: always `Bearer`.",
    "token_id": "Id of the token that was sent; null for another way to come in.",
    "comment": "What the token is for, in words of who had it made.",
    "Login.comment": "What the token is for, in your words; `login` where it is left out. Where "
    "the user has as many tokens as it may, the oldest with the same comment ends.",
    "lifetime": "Seconds until the token is over; the server's usual time where it is left out.",
    "expires_at": "When the token is over; null where none was sent.",
    # The server
    "server": "Name of the server software.",
    "version": "Its version.",
    "protocol": "Version of the wire protocol.",
    "max_body_bytes": "Largest body of a message in bytes that mqd takes.",
    "number": "Its number, counted up.",
    "records": "How many records it has.",
    "status": "`ok`, or what is wrong, in words.",
    # Problems
    "type": "A name for this kind of problem: `urn:mqd:problem:` and its code.",
    "title": "What the code means, the same for each problem of the kind.",
    "code": "What is wrong, in a word to be compared with: a code of mqd's protocol, or one of the "
    "gateway's own.",
    "detail": "What is wrong with this request, in a sentence for people.",
    "details": "The same for programs: bounds, names and values, by name.",
    "retryable": "Whether the same request may be taken later on.",
    "in_doubt": "Whether the request may have been carried out all the same; left out where it "
    "was not.",
    # The frame log
    "frames": "The frames, the oldest first.",
    "frame": "The frame, as JSON can hold it; null where it could not be decoded.",
    "at": "When it went over the wire.",
    "time": "The same as text: UTC, in ISO 8601 with nanoseconds.",
    "connection": "Number of the connection that it went over.",
    "direction": "`in` for what came from a client, `out` for what went to one.",
    "source": "The address that it came from.",
    "destination": "The address that it went to.",
    "verb": "Verb of the request; of a reply, of the request that it answers.",
    "last": "Where to go on: `after` of the next request.",
    "missed": "How many reads and writes since `after` are not told, and stand in the log's files "
    "alone; null where nobody knows, since mqd has been started anew.",
    "cut": "How many frames more than `limit` there were, older than these.",
    "level": "What the log keeps: `full`, or `headers` where it holds no bodies.",
    "events": "Kinds of events with commas between, as `pushed,acked`; all where it is left out.",
    # What means something of its own
    "HoldersQuery.max": "Most leases that are told of.",
    "TasksQuery.max": "Most tasks that are told of.",
    "TasksQuery.skip": "Of `queued` and `processing` ones: how many are passed over first.",
    "TasksQuery.before": "Of `completed`, `failed` and `cancelled` ones: those with lower ids "
    "alone.",
    "StatusForm.ids": "Ids of the messages that are asked after.",
    "CancelForm.ids": "Ids of the messages that are not needed any more.",
    "PushQuery.raw": "Whether a JSON document is the message itself, and no form with `body`.",
    "PushQuery.headers": "Headers of all messages of the request, as a JSON object; for bodies "
    "that are no form.",
    "QueueForm.if_missing": "Whether a queue that is there already is left as it is, and no error.",
    "QueueForm.dead_letter": "The queue that dead messages move to; they stay where it is left "
    "out.",
    "PurgeForm.state": "Whether those go that wait (`waiting`), or those that are dead (`dead`).",
    "AckForm.result": "What came of each message, any JSON value; kept by a queue that keeps "
    "results.",
    "AckForm.encoding": "What `result` is: a JSON document (`json`), or a string that holds text "
    "(`text`) or bytes (`base64`).",
    "AckPart.encoding": "What `result` is: a JSON document (`json`), or a string that holds text "
    "(`text`) or bytes (`base64`).",
    "CompleteForm.lease": "Id of the lease, as it came with the task.",
    "CompleteForm.result": "What came of it, any JSON value; kept by a queue that keeps results.",
    "FailForm.lease": "Id of the lease, as it came with the task.",
    "FailForm.error": "Why, in words that are kept with the task; of a long text the end is kept.",
    "FailForm.retry": "Whether it is tried again, as often as its queue allows.",
    "TakeQuery.lease": "Seconds within which the task is to be completed, or its lease extended; "
    "then it is taken by another.",
    "AckPart.lease": "Id of the lease, as a pull gave it.",
    "NackPart.lease": "Id of the lease, as a pull gave it.",
    "RejectPart.lease": "Id of the lease, as a pull gave it.",
    "RedriveForm.max": "So many of the oldest dead messages.",
    "RedriveForm.all": "All dead messages that there are.",
    "FramesQuery.after": "`last` of the answer before, for what has come since; the newest frames "
    "where it is left out.",
    "FramesQuery.errors": "Only refusals.",
    "FramesQuery.changes": "Leave out verbs that only look, as LIST and STATS, unless they were "
    "refused.",
    "FramesQuery.limit": "Most frames that are told; where more fit, the newest.",
    "Login.user": "Name of the user who comes in.",
    "Login.role": "What the token may do, no more than the user may: as the user where it is left "
    "out.",
    "Pushed.durability": "The level that was reached: `accepted`, `written` or `synced`.",
    "Pushed.count": "How many messages were pushed.",
    "QueueForm.durability": "What answers wait for where a request does not say: `accepted`, "
    "`written` or `synced`; the server's level where it is left out.",
    "QueueForm.max_attempts": "After so many failures a message is dead; no end where it is left "
    "out.",
    "QueueForm.max_worker_losses": "After so many lost workers a message is dead; what the "
    "server's configuration says where it is left out.",
    "Who.durability": "The server's level: what answers wait for where neither a request nor a "
    "queue says.",
    "Who.max_messages": "Most messages that one request may push or pull.",
    "Queue.moved": "Messages that went to the dead-letter queue since the queue was created.",
    "User.tokens": "How many tokens the user has.",
    "TokensQuery.users": "Users by a pattern, for who manages them; one's own tokens where it is "
    "left out.",
    "KnownToken.id": "The token's id, by which it can be ended; it is no secret.",
    "Token.id": "The token's id, by which it can be ended; it is no secret.",
    "Pulled.lease": "The lease that the messages are under, if one was asked for; its `id` is "
    "what is called `lease` everywhere else.",
    "AtWork.id": "The lease's id, with which the messages are settled.",
    "AtWork.seconds": "How many seconds it was given for.",
    "Cancelled.removed": "How many messages waited, and are gone.",
    "Extended.cancelled": "Ids of messages under the lease that were cancelled, and are not to be "
    "worked on.",
    "Holder.count": "How many messages it holds.",
    "Holder.lease": "Id of the lease.",
    "Status.state": "`ready`, `delayed`, `leased`, `dead`, `done`, `cancelled`, `gone` (not there "
    "any more, and the queue keeps no results) or `unknown` (it never was there).",
    "Status.deliveries": "How often it was handed out.",
    "Status.user": "The user who holds it.",
    "Task.id": "The task's id in its queue.",
    "Task.state": "`queued`, `processing`, `completed`, `failed`, `cancelled`, `gone` (not there "
    "any more, and the queue keeps no results) or `unknown` (it never was there).",
    "Task.deliveries": "How often it was taken, this time included.",
    "Task.encoding": "What the task is: left out for a JSON document; else `text`, or bytes as "
    "`base64`.",
    "Tasks.state": "The state that was asked for.",
    "Tasks.before": "Where to go on: `before` of the next request; left out where there are no "
    "more.",
    "TasksQuery.state": "In which state: of `completed`, `failed` and `cancelled` ones it is known "
    "as long as the queue keeps results.",
    "TaskForm.task": "What is to be done, any JSON value.",
    "TaskForm.headers": 'Headers by name: scalars, or `{"base64": "..."}` for bytes.',
    "Snapshot.bytes": "Its size in bytes.",
    "Snapshot.seconds": "How many seconds it took.",
    "Problem.status": "The HTTP status, once more.",
    "Attempt.cause": "How it ended, in a word: `nack`, `reject`, `hand_back`, `expired`, `gone` or "
    "`ttl`.",
    "Attempt.reason": "Why, as the worker said it.",
    "Attempt.ended_at": "When it ended.",
    "Origin.id": "Its id there.",
    "Origin.queue": "Name of the queue that it came from.",
    "Place.id": "Its id there.",
    "AckPart.result": "What came of each message, any JSON value; kept by a queue that keeps "
    "results.",
    "NackForm.delay": "Seconds for which the messages are kept back, in place of the queue's "
    "back-off.",
    "NackPart.delay": "Seconds for which the messages are kept back, in place of the queue's "
    "back-off.",
    "PushPart.messages": "The messages that are pushed.",
    "PushForm.messages": "Many messages in place of `body`.",
    "PullQuery.lease": "Seconds for which the messages stay under a lease; without it they are "
    "gone once the answer has left.",
    "RedriveForm.ids": "Ids of the dead messages that are tried again.",
    "RedriveForm.cause": "Only those that are dead for this cause.",
    "RedriveForm.origin": "Only those that came from this queue.",
    "Dead.dead": "How many messages are dead in the queue.",
    "Dead.ready": "How many messages are ready in the queue, dead letters of others among them.",
    "FramesQuery.verb": "Only requests with this verb, and what they were answered.",
    "FramesQuery.queue": "Only requests for this queue, and what they were answered.",
    "FramesQuery.user": "Only frames of this user.",
    "FramesQuery.peer": "Only frames of clients whose address has this in it.",
    "FramesQuery.connection": "Only frames of the connection with this number.",
    "FramesQuery.direction": "Only what came from clients (`in`), or went to them (`out`).",
    "FramesQuery.code": "Only replies with this code: `OK`, `EVENT`, or an error's.",
    "LoggedFrame.number": "Number of the read or write that it was part of.",
    "LoggedFrame.bytes": "Its size in bytes.",
    "LoggedFrame.code": "Of a reply: `OK`, `EVENT`, or an error's code; null of a request.",
    "LoggedFrame.queue": "The queue that it is about; null where there is none.",
    "LoggedFrame.seconds": "Of a reply: how many seconds it took; null where that is not known.",
    "LoggedFrame.user": "The user; empty before one was known.",
}
"""By field, or by class and field."""


def meaning_of(owner: str, field: str) -> str:
    """Return what a field of a class means; empty where nobody has said."""
    return MEANINGS.get(f"{owner}.{field}") or MEANINGS.get(field, "")
