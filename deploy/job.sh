#!/bin/sh
# What an example worker runs for each message: the body is the standard input. Exit code 0
# means done; after another one the message is tried again, as its queue says.
# Put your own program here.
set -eu
body=$(cat)
echo "job $MQ_JOB_ID of $MQ_JOB_QUEUE, delivery $MQ_JOB_DELIVERIES: $body"
