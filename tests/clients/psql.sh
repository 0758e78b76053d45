#!/usr/bin/env bash
# psql as Debian ships it: the backslash commands, formats, errors, variables, scripts.
set -euo pipefail

export PGCONNECT_TIMEOUT=10
id="$$_$RANDOM"
source="gates_$id" view="gate_counts_$id"
run() { timeout 60 psql -X -h "${FOURFOLD_PG%:*}" -p "${FOURFOLD_PG##*:}" -U anyone -d fourfold -v ON_ERROR_STOP=1 "$@"; }

same() { # what, found, expected
  if [ "$2" != "$3" ]; then
    printf 'not as expected: %s\n--- found\n%s\n--- expected\n%s\n' "$1" "$2" "$3" >&2
    exit 1
  fi
  echo "ok $1"
}
has() { # what, found, part
  if ! grep -qF -- "$3" <<<"$2"; then
    printf '%s: no %q in\n%s\n' "$1" "$3" "$2" >&2
    exit 1
  fi
  echo "ok $1"
}

run -q <<SQL
CREATE SOURCE $source (gate TEXT, passengers INT) WITH (topic = '$source', format = 'json');
CREATE MATERIALIZED VIEW $view AS
  SELECT gate, count(*) AS flights, sum(passengers) AS passengers FROM $source GROUP BY gate;
SQL
curl -sS --fail-with-body -X POST "http://$FOURFOLD_HTTP/v1/topics/$source/records" -H 'content-type: application/json' \
  -d '{"records": [{"value": {"gate": "A1", "passengers": 120}}, {"value": {"gate": "B2", "passengers": 80}}, {"value": {"gate": "A1", "passengers": 30}}]}' >/dev/null
wait="SET fourfold.min_position = '$source/0:3'"

same "rows, unaligned" "$(run -qAt -c "$wait" -c "SELECT * FROM $view ORDER BY gate")" $'A1|2|150\nB2|1|80'
same "rows, as CSV" "$(run -q --csv -c "$wait" -c "SELECT gate, flights FROM $view ORDER BY gate")" \
  $'gate,flights\nA1,2\nB2,1'
has "rows, aligned" "$(run -q -c "$wait" -c "SELECT * FROM $view ORDER BY gate")" "(2 rows)"
has "rows, expanded" "$(run -q -x -c "SELECT * FROM $view WHERE gate = 'B2'")" "passengers | 80"
has "\\d lists the view" "$(run -c '\d')" "$view"
described=$(run -c "\d $view")
has "\\d VIEW lists its columns" "$described" "flights"
has "\\d VIEW lists their types" "$described" "bigint"
has "\\dt+ and \\dn answer" "$(run -c '\dt+' -c '\dn')" "public"
has "\\l lists the database" "$(run -c '\l')" "fourfold"
has "\\df answers" "$(run -c '\df no_such_function' 2>&1)" "(0 rows)"
has "\\conninfo" "$(run -c '\conninfo')" "connected"
has "SHOW VIEWS" "$(run -c 'SHOW VIEWS')" "$view"
has "EXPLAIN" "$(run -c "EXPLAIN SELECT gate FROM $view WHERE flights > 1")" "flights"
same "variables" "$(run -qAt -v gate=A1 <<<"SELECT flights FROM $view WHERE gate = :'gate';")" "2"
same "a transaction's words are understood" "$(run -qAt -c 'BEGIN' -c 'SELECT 1' -c 'COMMIT')" "1"
error=$(run -c "SELECT gat FROM $view" 2>&1 && exit 1 || true)
has "an error names the column" "$error" "gat"
has "an error points at its place" "$error" "^"
same "\\copy writes a file" "$(run -q -c "\copy (SELECT gate, flights FROM $view ORDER BY gate) TO STDOUT WITH CSV")" $'A1,2\nB2,1'
run -q -c "DROP MATERIALIZED VIEW $view" -c "DROP SOURCE $source"
gone=$(run -c "SELECT * FROM $view" 2>&1 && exit 1 || true)
has "a dropped view is gone" "$gone" "$view"
