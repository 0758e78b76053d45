# What every scenario begins with: how its server is started and stopped, and the words that its blocks use.
exec 2>&1
set -u
PATH="$(dirname "$FOURFOLD_BINARY"):$PATH"
ready="$FOURFOLD_FOLDER/ready.json"
server=

door() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$ready" "$1"; }

# start [OPTION ...]: a server on the scenario's data; returns when its doors are open.
start() {
  rm -f "$ready"
  fourfold dev --data-dir "$FOURFOLD_FOLDER/data" --ready-file "$ready" --kafka-port 0 --pg-port 0 --http-port 0 "$@" \
    >> "$FOURFOLD_FOLDER/server.log" 2>&1 &
  server=$!
  until [ -e "$ready" ]; do
    kill -0 "$server" 2> /dev/null || { echo "the server did not start:"; tail -n 3 "$FOURFOLD_FOLDER/server.log"; return 1; }
    sleep 0.02
  done
  FOURFOLD_KAFKA=$(door kafka) FOURFOLD_HTTP=$(door http) pg=$(door pg)
  export FOURFOLD_KAFKA FOURFOLD_HTTP PGHOST=${pg%:*} PGPORT=${pg##*:}
}
# stop: as Ctrl-C does; says when it took longer than it may.
stop() {
  local begun=$SECONDS
  kill -TERM "$server" && wait "$server" || echo "the server ended with $?"
  [ $((SECONDS - begun)) -le 10 ] || echo "the server took $((SECONDS - begun)) s to stop"
}
# crash: as a power button does.
crash() { kill -KILL "$server" && wait "$server" 2> /dev/null || true; }
# sql TEXT: values alone, as psql gives them; waits until the views have folded POSITION where that is set.
sql() {
  local wait=()
  [ -z "${POSITION-}" ] || wait=(-c "SET fourfold.min_position = '$POSITION'")
  psql -X -A -t -q "${wait[@]}" -c "$1"
}
# status METHOD PATH: the HTTP status of a request.
status() { curl -sS -o /dev/null -m 60 -w '%{http_code}\n' -X "$1" "http://$FOURFOLD_HTTP$2"; }
trap '[ -z "$server" ] || kill -KILL "$server" 2> /dev/null || true' EXIT
start
