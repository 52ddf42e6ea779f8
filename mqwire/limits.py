"""Every bound of the protocol, with its reason. Floor 0: constants only.

A server may be configured to allow less than a default here, never more than
the hard bound of the same name. AUTH tells a client the bounds in force.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

PREFIX_BYTES: Final = 5
"""The byte 0xCE and a 32-bit big-endian length."""

MAX_FRAME_BYTES: Final = 16 * MIB
"""Default bound of one frame's body, both ways."""

MIN_FRAME_BYTES: Final = 64 * KIB
"""No server may allow less, so that a client can rely on it before it knows the bound."""

HARD_MAX_FRAME_BYTES: Final = 256 * MIB
"""A frame is held whole in memory, several times over while it is handled."""

MAX_FRAME_BYTES_BEFORE_AUTH: Final = 4 * KIB
"""A stranger may not make the server buffer more than this."""

MAX_CONTAINER_BYTES: Final = 256 * KIB
"""The arrays and maps inside a request, encoded, together. A byte of empty maps decodes to
74 bytes of memory, so this bounds what one request can make of itself to about 19 MiB."""

MAX_CONTAINER_ENTRIES: Final = 32 * KIB
"""Entries of one array or map inside a request: a parser may make room for as many as a
header of five bytes announces. Twice the most that any request has a use for."""

MAX_REQUEST_ELEMENTS: Final = 64
"""Elements of a request's own array when it is too large to be decoded unseen."""

FRAME_OVERHEAD_BYTES: Final = 32 * KIB
"""What a frame may need beside its bodies and headers: verb, ids, names, options."""

MAX_BODY_BYTES: Final = 8 * MIB
"""Default bound of one encoded body."""

MAX_MESSAGES_PER_FRAME: Final = 16_384
"""Bodies in one PUSH and messages in one PULL or PEEK."""

MAX_NAME_CHARS: Final = 128
"""Queue names and patterns."""

MAX_HEADERS: Final = 64
"""Entries in the headers of one message."""

MAX_HEADER_KEY_CHARS: Final = 128
"""Characters in the key of a header."""

MAX_HEADERS_BYTES: Final = 16 * KIB
"""Encoded size of the headers of one message."""

MAX_REQUEST_ID: Final = 2**53 - 1
"""The largest integer that every language's numbers can hold exactly."""

MAX_WAIT_SECONDS: Final = 3600
"""Longest that one PULL may wait. A client that wants more asks again."""

MAX_WAITS_PER_CONNECTION: Final = 1024
"""Waiting PULLs of one connection."""

MIN_LEASE_SECONDS: Final = 0.1
"""Shortest lease: less is over before a worker has seen its messages."""

MAX_LEASE_MESSAGES: Final = 2048
"""Messages of one leased PULL. Each that comes back needs steps of its own: all of them some
12 ms, in which the server does nothing else."""

MAX_LEASE_SECONDS: Final = 7 * 24 * 3600
"""Longest lease. A worker that needs more extends it."""

MAX_DELAY_SECONDS: Final = 366 * 24 * 3600
"""Longest time that a message may be kept back."""

MIN_TTL_SECONDS: Final = 0.001
"""Shortest life of a message that waits."""

MIN_EXPIRES_SECONDS: Final = 1
"""Shortest time without use after which a queue may delete itself."""

MAX_ATTEMPTS: Final = 2**31
"""Hard bound of the budgets `max_attempts` and `max_worker_losses`."""

MAX_PRIORITY: Final = 255
"""Highest priority of a message."""

DEFAULT_PRIORITY: Final = 128
"""Priority of a message that was pushed without one."""

MAX_TIME_SECONDS: Final = 2**33
"""Latest moment that may be named, in seconds since 1970-01-01 UTC: in the year 2242."""

MAX_REASON_CHARS: Final = 4096
"""Why a message was given back: room for a traceback."""

MAX_RESULT_BYTES: Final = 64 * KIB
"""What a worker may say came of a message. More belongs into a queue, or a file."""

MIN_KEEP_SECONDS: Final = 1
"""Least time for which a queue keeps results, if it keeps any."""

MAX_KEPT_MESSAGES: Final = 2**17
"""Messages of one queue of which it is remembered what has become of them: 30 MB or so."""

MAX_KEPT_RESULT_BYTES: Final = 64 * MIB
"""How large the results may be together that one queue keeps."""

MAX_WAITED_MESSAGES: Final = 1024
"""Messages that one STATUS may wait for: a waiting id takes some 150 bytes."""

MAX_CREDIT: Final = 65_536
"""Events that a WATCH may be ahead of its client."""

MAX_WATCHES_PER_CONNECTION: Final = 16
"""Each of them is a step for each event."""

MAX_CANCELLED_MESSAGES: Final = 1024
"""Messages that one CANCEL may name: looking for them in a million packs takes some 30 ms."""

MAX_HOLDERS_ENTRIES: Final = 4096
"""Leases that one HOLDERS tells of: 13 ms or so."""

MAX_TAIL_ENTRIES: Final = 4096
"""Records of the frame log that are kept in memory for FRAMES."""

MAX_TAIL_BYTES: Final = 1024 * 1024
"""Their bytes; with what Python needs for each it is 3 MiB or so."""

MAX_TAIL_RECORD_BYTES: Final = 64 * 1024
"""Larger records are in the log alone."""

MAX_SKIPPED_ENTRIES: Final = 32_768
"""Packs, leases and messages that one PEEK may pass over where that takes a step for each."""

MAX_INSTANCE_CHARS: Final = 64
"""Characters in the id that a client chooses for itself."""

MAX_HOST_CHARS: Final = 128
"""Characters in the name of a client's machine: the largest AUTH has to fit into a frame
before AUTH."""

MAX_KEEPALIVE_SECONDS: Final = 3600
"""Longest that a client which promises to be heard may be silent."""

MAX_TEXT_CHARS: Final = 256
"""User names, client names and other short texts."""

MIN_PASSWORD_CHARS: Final = 8
"""Shortest password that is taken for a user; the longest is that of other short texts."""

MAX_MANAGED_USERS: Final = 10_000
"""Hard bound of `auth.max_users`."""

MAX_TOKENS: Final = 100_000
"""Hard bound of `auth.max_tokens`: each takes some 500 bytes of memory."""

MIN_TOKEN_SECONDS: Final = 1
"""Shortest life of a token."""

MAX_TOKEN_SECONDS: Final = 366 * 24 * 3600
"""Longest life of a token."""

MAX_STEP_PARTS: Final = 1024
"""Parts of one STEP, which are planned and carried out in one go."""

MAX_STEP_MESSAGES: Final = 2048
"""Messages that one STEP may settle, for the reason of `MAX_LEASE_MESSAGES`."""

MAX_KEY_CHARS: Final = 128
"""Characters in the key of a push or a step: room for more than any random id."""

DEFAULT_DEDUPE_SECONDS: Final = 600
"""How long a key is remembered where nothing else is said: clients have reconnected by then."""

MAX_DEDUPE_SECONDS: Final = 7 * 24 * 3600
"""Longest that a queue may remember the keys of its pushes."""

MAX_QUEUE_MESSAGES: Final = 2**40
"""Hard bound of `max_messages`."""

MAX_QUEUE_BYTES: Final = 2**50
"""Hard bound of `max_bytes`."""

assert PREFIX_BYTES < MAX_FRAME_BYTES_BEFORE_AUTH < MIN_FRAME_BYTES
assert MIN_FRAME_BYTES <= MAX_FRAME_BYTES <= HARD_MAX_FRAME_BYTES < 2**32
assert MAX_BODY_BYTES + MAX_HEADERS_BYTES + FRAME_OVERHEAD_BYTES <= MAX_FRAME_BYTES
assert MAX_HEADERS_BYTES + FRAME_OVERHEAD_BYTES < MIN_FRAME_BYTES
assert MAX_HEADERS_BYTES <= MAX_CONTAINER_BYTES
assert MAX_FRAME_BYTES_BEFORE_AUTH <= MAX_CONTAINER_BYTES
assert MAX_LEASE_MESSAGES <= MAX_STEP_MESSAGES
assert MAX_MESSAGES_PER_FRAME < MAX_CONTAINER_ENTRIES
