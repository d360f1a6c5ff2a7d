#!/bin/sh
# Starts SeaweedFS as an S3 server with one key, that of the credentials' file.
set -eu
umask 077

value() { sed -n "s/^$1 *= *//p" "$STORE_CREDENTIALS_FILE"; }

config=$(mktemp)
cat > "$config" <<JSON
{"identities": [{
    "name": "farm",
    "credentials": [{"accessKey": "$(value aws_access_key_id)", "secretKey": "$(value aws_secret_access_key)"}],
    "actions": ["Admin", "Read", "List", "Tagging", "Write"]
}]}
JSON
# Volumes of 1 GiB, as many as the disk holds: a bucket takes several from the beginning.
exec weed server -dir="$STORE_DATA" -ip.bind=0.0.0.0 -volume.max=0 -master.volumeSizeLimitMB=1024 -s3 -s3.port="$STORE_PORT" -s3.config="$config"
