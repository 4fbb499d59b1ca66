# Sourced by the `run` scripts of the examples: builds the programs, starts and
# stops what an example needs, and checks answers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mcpgate=$root/bin/mcpgate
pids=()

finish() {
  local code=$?
  # The last started is stopped first.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  rm -rf "$here/data"
  exit "$code"
}
trap finish EXIT

cd "$root" && make --no-print-directory build envoy && go build -o bin/sample ./examples/sample
cd "$here" && rm -rf data && mkdir -p data

start() { "$@" & pids+=($!); }

# fetch ARGUMENTS…: an HTTP request; prints the body, then the status alone on a line.
fetch() { curl --silent --max-time 10 --write-out '\n%{http_code}\n' "$@"; }

# wait_for URL: until it answers 200.
wait_for() {
  for _ in $(seq 200); do
    [ "$(fetch "$1" 2>/dev/null | tail -n 1)" = 200 ] && return 0
    sleep 0.1
  done
  echo "no answer from $1" >&2
  return 1
}

# token SUBJECT SCOPE: an access token of the sample issuer.
token() { curl --silent --fail "http://127.0.0.1:9000/token?subject=$1&scope=$2&aud=http://127.0.0.1:8080"; }

# call TOKEN SERVER TOOL: calls a tool.
call() {
  fetch "http://127.0.0.1:8080/$2/mcp" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
    -H 'Accept: application/json, text/event-stream' \
    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"'"$3"'","arguments":{"place":"Oslo"}}}'
}

# expect STATUS OUTPUT: fails the example when the status differs.
expect() {
  echo "$2"
  if [ "$(tail -n 1 <<<"$2")" != "$1" ]; then
    echo "expected $1" >&2
    return 1
  fi
}

# try_policy: what registry.yaml of every example must do.
try_policy() {
  wait_for http://127.0.0.1:9000/jwks
  "$mcpgate" apply --config mcpgate.yaml -f registry.yaml
  local reader writer
  reader=$(token alice weather:read) writer=$(token bob weather:write)
  expect 401 "$(call '' weather get_forecast)"
  expect 200 "$(call "$reader" weather get_forecast)"
  expect 403 "$(call "$reader" weather set_alert)"
  expect 200 "$(call "$writer" weather set_alert)"
  expect 403 "$(call "$reader" notes list_notes)"
}
