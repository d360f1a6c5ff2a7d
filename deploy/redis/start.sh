#!/bin/sh
# Starts Redis with one user, `farm`, who may do what the farm's broker needs (farm.acl) and nothing else.
#
# BROKER_PASSWORD_FILE  file with the user's password
# BROKER_ACL            file with the user's rights
# BROKER_DATA           folder of the append-only file
# BROKER_PORT           port
set -eu
umask 077

users=$(mktemp)
password=$(cat "$BROKER_PASSWORD_FILE")
digest=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
{
    echo "user default off"
    echo "user farm on #$digest $(cat "$BROKER_ACL")"
} > "$users"

# noeviction: a wake-up that Redis throws away is only sent again after a while.
set -- redis-server --port "$BROKER_PORT" --dir "$BROKER_DATA" --aclfile "$users" \
    --appendonly yes --appendfsync everysec --save "" --maxmemory-policy noeviction
if [ "$(id -u)" = 0 ] && command -v docker-entrypoint.sh > /dev/null; then
    # The image's own way to give up root.
    chown redis "$users"
    set -- docker-entrypoint.sh "$@"
fi
exec "$@"
