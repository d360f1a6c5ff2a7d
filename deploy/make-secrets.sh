#!/bin/sh
# Makes the secrets of docker-compose.yml in FOLDER (by default `secrets`), each once: what is there stays.
#
# The folder is its owner's alone. The files in it are readable, since compose mounts each one by itself into
# containers whose users have other numbers.
set -eu

folder=${1:-secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

make() {
    [ -e "$folder/$1" ] && return
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$folder/$1.new"
    chmod 0444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

for name in database_owner database_submitter database_worker database_reader broker; do
    make "$name"
done
if [ ! -e "$folder/store" ]; then
    make store_key
    make store_secret
    {
        echo "[default]"
        echo "aws_access_key_id = $(cat "$folder/store_key")"
        echo "aws_secret_access_key = $(cat "$folder/store_secret")"
    } > "$folder/store.new"
    chmod 0444 "$folder/store.new"
    mv "$folder/store.new" "$folder/store"
    rm -f "$folder/store_key" "$folder/store_secret"
fi
echo "secrets are in $folder"
