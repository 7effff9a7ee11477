#!/bin/sh
# Writes all that the running installation knows into a folder: ./backup.sh FOLDER
# Nobody who labels notices; new texts wait for the embed workers meanwhile. Not .env: keep that elsewhere.
set -eu
umask 077
mkdir -p "${1:?usage: backup.sh FOLDER}"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"
compose() { ${COMPOSE:-docker compose} "$@" </dev/null; }
redis() { compose exec -T redis redis-cli "$@"; }

redis_rewrites() { redis config set auto-aof-rewrite-percentage "$1" >/dev/null; }
resume() {
    redis_rewrites 100
    compose start embed adapt >/dev/null
}

echo "Label Studio's database"
compose exec -T postgres pg_dump -U labelstudio -Fc labelstudio >"$folder/database.partial"
echo "Label Studio's files"
compose exec -T label-studio tar -C /label-studio/data -cf - . >"$folder/files.partial"

trap resume EXIT
echo "Redis"
# Its files only grow while none of them is rewritten.
redis_rewrites 0
while redis info persistence | grep -q '^aof_rewrite_in_progress:1'; do sleep 1; done
compose exec -T redis sh -c 'tar -C /data -cf - appendonlydir || [ $? = 1 ]' >"$folder/redis.partial"
echo "Vectors"
# Only these write vectors and encoders.
compose stop embed adapt >/dev/null
compose exec -T backend sh -c 'cd /data && mkdir -p vectors && tar -cf - vectors' >"$folder/vectors.partial"

for part in database files redis vectors; do mv "$folder/$part.partial" "$folder/$part"; done
echo "All of it is in $folder"
