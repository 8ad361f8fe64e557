#!/bin/sh
# Announces a push to directors. HOOKS has the URLs of their hooks, with spaces between them, such
# as https://lb1.example.org/hooks/push. HOOK_SECRET is what the file of hook.secret_file holds; it
# is on no command line. All directors are told. It ends with 1 if one did not take it: that director fetches at its next poll.
set -eu

: "${HOOK_SECRET:?is the secret of the hooks}"
: "${HOOKS:?has the URLs of the hooks, such as https://lb1.example.org/hooks/push}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# gitvs fetches from its own remote, whatever the body says; the signature is all that counts.
printf '{"ref": "%s", "after": "%s"}' \
    "${GITHUB_REF:-${CI_COMMIT_REF_NAME:-}}" "${GITHUB_SHA:-${CI_COMMIT_SHA:-}}" >"$work/body"
export HOOK_SECRET
python3 -c '
import hmac, os, sys

body = open(sys.argv[1], "rb").read()
digest = hmac.new(os.environ["HOOK_SECRET"].strip().encode(), body, "sha256").hexdigest()
print("X-Hub-Signature-256: sha256=" + digest)
' "$work/body" >"$work/signature"

failed=0
for url in $HOOKS; do
    if curl --silent --show-error --fail --max-time 20 --retry 2 --output "$work/answer" \
        --header "@$work/signature" --header 'Content-Type: application/json' \
        --data-binary "@$work/body" "$url"; then
        echo "announced: $url"
    else
        echo "not announced: $url" >&2
        failed=1
    fi
done
exit "$failed"
