#!/bin/sh
# Exits with 0 if Redis answers to the user `farm`.
set -eu
REDISCLI_AUTH=$(cat "$BROKER_PASSWORD_FILE")
export REDISCLI_AUTH
[ "$(redis-cli --user farm -p "$BROKER_PORT" ping)" = PONG ]
