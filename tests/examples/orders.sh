#!/bin/bash
# The README's two programs, as two processes: what the producer offers is what the consumer prints.
set -euo pipefail
domain=example-orders-$$
output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout 20 "$TELPHER_EXAMPLES"/consumer "$domain" >"$output" &
consumer=$!
timeout 20 "$TELPHER_EXAMPLES"/producer "$domain"
wait "$consumer"
diff "$output" - <<TEXT
2 espressos
good night
TEXT
[ ! -e /dev/shm/telpher."$domain" ] || { echo "the ephemeral domain is still there" >&2; exit 1; }
