#!/bin/sh
# Exchanges the token of this job's platform for a Leasehold access token, and prints it.
# Takes the platform's token from a file, or from standard input. Wants curl and jq.
#
#   LEASEHOLD_URL=https://leasehold.example.com sh exchange.sh [FILE]
set -eu
: "${LEASEHOLD_URL:?is the public URL of the broker}"

token=$(cat -- "${1:--}")
# Through a pipe: what stands in a command line is seen by every process of the machine, and printf is part of the shell.
answer=$(printf '%s' "$token" |
  curl -sS --retry 3 --max-time 20 "$LEASEHOLD_URL/oauth/token" \
    --data-urlencode grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer \
    --data-urlencode assertion@-)

printf '%s' "$answer" | jq -er '.access_token // empty' && exit
printf '%s' "$answer" | jq -r '"Leasehold refused: \(.error): \(.error_description)"' >&2
exit 1
