#!/usr/bin/env bash
# curl against every family of HTTP routes: health, metrics, OpenAPI, topics, SQL, views, streams, commands, problems.
set -euo pipefail

at="http://$FOURFOLD_HTTP"
id="$$_$RANDOM"
topic="parcels_$id" view="parcel_counts_$id" flight="C$id" stream="notes-$id"
body=$(mktemp) headers=$(mktemp)
trap 'rm -f "$body" "$headers"' EXIT

# ask STATUS METHOD PATH [JSON]: one request; fails unless it answers with that status.
ask() {
  local data=()
  [ $# -lt 4 ] || data=(-H 'content-type: application/json' --data-binary "$4")
  local status
  status=$(curl -sS -m 60 -o "$body" -D "$headers" -w '%{http_code}' -X "$2" "$at$3" "${data[@]}")
  if [ "$status" != "$1" ]; then
    printf '%s %s answered %s, not %s:\n' "$2" "$3" "$status" "$1" >&2
    cat "$body" >&2
    exit 1
  fi
}
# field EXPRESSION: a part of the last answer, by Python.
field() { python3 -c 'import json, sys; body = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$body" "$1"; }
same() { # what, found, expected
  if [ "$2" != "$3" ]; then
    printf 'not as expected: %s\n--- found\n%s\n--- expected\n%s\n' "$1" "$2" "$3" >&2
    exit 1
  fi
  echo "ok $1"
}

ask 200 GET /healthz
ask 200 GET /readyz
echo "ok alive and ready"
ask 200 GET /metrics
same "metrics end as OpenMetrics does" "$(tail -n 1 "$body")" "# EOF"
grep -q '^fourfold_log_appended_records_total' "$body" || { echo "no fourfold_log_appended_records_total" >&2; exit 1; }
ask 200 GET /openapi.json
same "the API describes itself" "$(field 'body["openapi"][:2] + str("/v1/sql" in body["paths"])')" "3.True"

ask 201 POST /v1/topics "{\"name\": \"$topic\", \"partitions\": 2}"
ask 409 POST /v1/topics "{\"name\": \"$topic\", \"partitions\": 2}"
same "a topic's name is taken once" "$(field 'body["kind"]')" "conflict"
same "a problem says so" "$(grep -i '^content-type:' "$headers" | tr -d '\r' | cut -d' ' -f2)" "application/problem+json"
ask 200 GET /v1/topics
same "the topic is listed" "$(field "'$topic' in str(body)")" "True"

ask 200 POST /v1/sql "{\"sql\": \"CREATE SOURCE $topic (city TEXT, grams INT) WITH (topic = '$topic', partitions = 2, format = 'json')\"}"
ask 200 POST /v1/sql "{\"sql\": \"CREATE MATERIALIZED VIEW $view AS SELECT city, count(*) AS parcels, sum(grams) AS grams FROM $topic GROUP BY city\"}"
ask 200 POST "/v1/topics/$topic/records" '{"records": [
  {"partition": 0, "key": "a", "value": {"city": "Oslo", "grams": 100}, "headers": [{"name": "h", "value": "1"}]},
  {"partition": 1, "key": "b", "value": {"city": "Rome", "grams": 250}},
  {"partition": 0, "key": "c", "value": {"city": "Oslo", "grams": 50}}]}'
position=$(field 'body["positions"]')
same "records answer with their position" "$position" "$topic/0:2,$topic/1:1"
ask 200 GET "/v1/topics/$topic/partitions/0/records?offset=1"
same "a record is read back" "$(field 'body["records"][0]["key"], body["records"][0]["value"]["grams"]')" "('c', 50)"
ask 200 GET "/v1/topics/$topic"
same "the topic shows its ends" "$(field '[p["high_watermark"] for p in body["partitions"]]')" "[2, 1]"

ask 200 GET "/v1/views/$view?min_position=$position"
same "a view shows its rows" "$(field 'sorted((r["city"], int(r["parcels"]), int(r["grams"])) for r in body["rows"])')" \
  "[('Oslo', 2, 150), ('Rome', 1, 250)]"
same "and its position" "$(field 'body["positions"]')" "$position"
grep -qi "^fourfold-positions: $position" "$headers" || { echo "no header fourfold-positions" >&2; exit 1; }
ask 200 GET "/v1/views/$view/Rome?min_position=$position"
same "a view shows one row" "$(field 'int(body["row"]["grams"])')" "250"
ask 404 GET "/v1/views/$view/Nowhere"
ask 200 GET /v1/views
same "views are listed" "$(field "'$view' in [v['name'] for v in body['views']]")" "True"
ask 200 POST /v1/sql "{\"sql\": \"SELECT city FROM $view WHERE grams > \$1 ORDER BY city\", \"params\": [120], \"min_position\": \"$position\"}"
same "SQL with a parameter" "$(field 'body["rows"]')" "[['Oslo'], ['Rome']]"
csv=$(curl -sS -m 60 --fail-with-body -H 'accept: text/csv' -H 'content-type: application/json' "$at/v1/sql" \
  -d "{\"sql\": \"SELECT city, parcels FROM $view ORDER BY city\"}" | tr -d '\r')
same "SQL as CSV" "$csv" $'city,parcels\nOslo,2\nRome,1'
ask 400 POST /v1/sql '{"sql": "SELEC 1"}'
same "a wrong statement says where" "$(field 'body["sqlstate"], "position" in body')" "('42601', True)"
ask 504 GET "/v1/views/$view?min_position=$topic/0:9&timeout_ms=100"
echo "ok a position that does not come ends the wait"

ask 200 POST "/v1/streams/$stream" '{"expected": "no_stream", "events": [{"type": "Noted", "data": {"n": 1}}, {"type": "Noted", "data": {"n": 2}}]}'
same "events get versions" "$(field 'body["first_version"], body["last_version"]')" "(0, 1)"
ask 409 POST "/v1/streams/$stream" '{"expected": 0, "events": [{"type": "Noted", "data": {"n": 3}}]}'
same "a wrong expected version is refused" "$(field 'body["actual_version"]')" "1"
ask 200 GET "/v1/streams/$stream?from=1"
same "a stream is read" "$(field '[(e["version"], e["type"], e["data"]["n"]) for e in body["events"]]')" "[(1, 'Noted', 2)]"
ask 200 GET '/v1/streams/$all?from=0&limit=1'
same "all streams are read" "$(field 'len(body["events"])')" "1"
ask 200 GET "/v1/streams?prefix=notes-"
same "streams are listed" "$(field "'$stream' in str(body)")" "True"

command="{\"command_id\": \"$flight-1\", \"type\": \"schedule\", \"data\": {\"carrier\": \"UA\", \"origin\": \"EWR\", \"dest\": \"IAH\", \"scheduled\": \"2013-01-01T05:15:00\"}}"
ask 200 POST "/v1/commands/flight/$flight" "$command"
same "a command is accepted" "$(field 'body["version"], body["duplicate"], body["events"][0]["type"]')" "(0, False, 'FlightScheduled')"
at_position=$(field 'body["positions"]')
ask 200 POST "/v1/commands/flight/$flight" "$command"
same "the same command is done once" "$(field 'body["version"], body["duplicate"], body["positions"]')" "(0, True, '$at_position')"
ask 422 POST "/v1/commands/flight/$flight" '{"type": "arrive", "data": {}}'
same "a rejection names its rule" "$(field 'body["rule"]')" "must_have_departed"
ask 200 POST "/v1/commands/flight/$flight" '{"type": "depart", "data": {"delay_minutes": 5}}'
ask 200 GET "/v1/aggregates/flight/$flight"
same "the state now" "$(field 'body["version"], body["state"]["status"]')" "(1, 'departed')"
ask 200 GET "/v1/aggregates/flight/$flight?version=0"
same "the state at a version" "$(field 'body["state"]["status"]')" "scheduled"
ask 200 GET /v1/commands
same "aggregates are listed" "$(field '"flight" in body["aggregates"]')" "True"

ask 404 GET /v1/nothing
same "what is not there says where to look" "$(field '"openapi" in body["hint"]')" "True"
ask 405 DELETE /v1/sql
ask 400 POST /v1/sql 'no json'
ask 200 POST /v1/sql "{\"sql\": \"DROP MATERIALIZED VIEW $view\"}"
ask 200 POST /v1/sql "{\"sql\": \"DROP SOURCE $topic\"}"
ask 204 DELETE "/v1/topics/$topic"
ask 404 GET "/v1/topics/$topic"
echo "ok views, sources and topics are dropped"
