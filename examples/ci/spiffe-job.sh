#!/bin/sh
# A job on a machine with a SPIRE agent: spiffe-helper (spiffe-helper.conf) keeps its JWT-SVID in a file.
set -eu
export LEASEHOLD_URL="${LEASEHOLD_URL:-https://leasehold.example.com}"
here=$(dirname -- "$0")

LEASEHOLD_TOKEN=$(sh "$here/exchange.sh" "${SVID_FILE:-/run/leasehold/svid.jwt}")
export LEASEHOLD_TOKEN
sh "$here/call.sh" query_database '{
  "credential": "billing-db/readonly",
  "statement": "SELECT count(*) FROM invoices",
  "purpose": "Weekly report"
}'
