#!/bin/sh
# Has directors fetch over ssh, and waits for what comes of it: sync.sh gitvs-sync@lb1 …
# The key's command on the directors is `gitvs sync`, so that the key can do nothing else.
# It ends with the highest exit code: 0 in force, 3 blocked by a gate, 4 invalid, 255 no ssh.
set -u

: "${1:?is a director, such as gitvs-sync@lb1.example.org}"

worst=0
for director in "$@"; do
    echo "$director:"
    ssh -o BatchMode=yes -o ConnectTimeout=10 "$director" gitvs sync
    code=$?
    if [ "$code" -gt "$worst" ]; then
        worst=$code
    fi
done
exit "$worst"
