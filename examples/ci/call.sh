#!/bin/sh
# Calls one of Leasehold's tools with the access token in LEASEHOLD_TOKEN, and prints its result as JSON.
#
#   sh call.sh query_database '{ "credential": "billing-db/readonly", "statement": "SELECT 1", "purpose": "Check" }'
set -eu
: "${LEASEHOLD_URL:?is the public URL of the broker}" "${LEASEHOLD_TOKEN:?comes from exchange.sh}"

# printf is part of the shell, so that the token is in no command line.
answer=$(printf 'Authorization: Bearer %s\n' "$LEASEHOLD_TOKEN" |
  curl -sS --max-time 60 "$LEASEHOLD_URL/mcp" -H @- \
    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -d "$(jq -cn --arg name "$1" --argjson arguments "${2:-"{}"}" \
      '{ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: $name, arguments: $arguments } }')")

printf '%s' "$answer" | jq -e 'if .result and (.result.isError | not) then .result.structuredContent else empty end' && exit
printf '%s' "$answer" | jq -r '.result.content[0].text? // .error.message? // .error_description? // "no answer"' >&2
exit 1
