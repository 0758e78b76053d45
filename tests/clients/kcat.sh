#!/usr/bin/env bash
# kcat as Debian ships it: list, produce with keys, consume with a format, groups, compression.
set -euo pipefail

topic="kcat_$$_$RANDOM"
at="kcat -b $FOURFOLD_KAFKA"
limited="timeout 60"

say() { echo "ok $1"; }
same() { # what, found, expected
  if [ "$2" != "$3" ]; then
    printf 'not as expected: %s\n--- found\n%s\n--- expected\n%s\n' "$1" "$2" "$3" >&2
    exit 1
  fi
  say "$1"
}

curl -sS --fail-with-body -X POST "http://$FOURFOLD_HTTP/v1/topics" -H 'content-type: application/json' \
  -d "{\"name\": \"$topic\", \"partitions\": 1}" >/dev/null
listing=$($limited $at -L -t "$topic")
grep -q "topic \"$topic\" with 1 partitions" <<<"$listing" || { echo "$listing" >&2; exit 1; }
say "a topic is listed"

printf 'a:1\nb:2\na:3\n' | $limited $at -P -t "$topic" -K: -X acks=all
same "keys and values come back" "$($limited $at -C -t "$topic" -o beginning -e -q -f '%p %o %k=%s\n')" \
  $'0 0 a=1\n0 1 b=2\n0 2 a=3'

for codec in gzip snappy lz4 zstd; do
  printf 'with %s\n' $codec | $limited $at -P -t "$topic" -z $codec -X acks=all
done
same "each compression is read" "$($limited $at -C -t "$topic" -o 3 -e -q)" \
  $'with gzip\nwith snappy\nwith lz4\nwith zstd'

printf 'idempotent\n' | $limited $at -P -t "$topic" -X enable.idempotence=true
same "an idempotent record is read from the end" "$($limited $at -C -t "$topic" -o -1 -e -q)" "idempotent"

same "an offset is found by time" "$($limited $at -Q -t "$topic:0:0")" "$topic [0] offset 0"

printf 'marked\n' | $limited $at -P -t "$topic" -H colour=blue -H size=2
same "headers come back" "$($limited $at -C -t "$topic" -o -1 -e -q -f '%h %s\n')" "colour=blue,size=2 marked"

group="group_$$_$RANDOM"
same "a group reads everything" "$($limited $at -G "$group" -e -q -X auto.offset.reset=earliest "$topic" | wc -l)" "9"
printf 'after\n' | $limited $at -P -t "$topic"
same "a group goes on where it was" "$($limited $at -G "$group" -e -q -X auto.offset.reset=earliest "$topic")" "after"

missing=$($limited $at -C -t "missing_$topic" -e 2>&1 && exit 1 || true)
grep -qi "unknown topic" <<<"$missing" || { echo "an unknown topic gave: $missing" >&2; exit 1; }
say "an unknown topic is an error"
