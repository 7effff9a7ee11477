#!/bin/sh
# Fills an installation that is empty from a folder that backup.sh wrote, and starts it: ./restore.sh FOLDER
set -eu
folder=$(cd "${1:?usage: restore.sh FOLDER}" && pwd)
cd "$(dirname "$0")"
compose() { ${COMPOSE:-docker compose} "$@"; }
sql() { compose exec -T postgres psql -U labelstudio -d labelstudio -At "$@" </dev/null; }
unpack() { # SERVICE FOLDER FILE
    compose run --rm -T --no-deps --entrypoint tar "$1" -C "$2" -xf - <"$3"
}

for part in database files redis vectors; do
    [ -f "$folder/$part" ] || { echo "$folder has no $part: name a folder that backup.sh has finished." >&2; exit 1; }
done
compose up -d postgres </dev/null
until compose exec -T postgres pg_isready -q -h 127.0.0.1 -U labelstudio -d labelstudio </dev/null; do sleep 1; done
if [ "$(sql -c "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" != 0 ]; then
    echo "This installation has data already: only an empty one is filled (down --volumes empties it)." >&2
    exit 1
fi
echo "Label Studio's database"
compose exec -T postgres pg_restore -U labelstudio -d labelstudio --exit-on-error <"$folder/database"
echo "Label Studio's files"
unpack label-studio /label-studio/data "$folder/files"
echo "Redis"
unpack redis /data "$folder/redis"
echo "Vectors"
unpack backend /data "$folder/vectors"
compose up -d </dev/null
