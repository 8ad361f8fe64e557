#!/bin/sh
# Puts the report in the folder $1 on its merge request: one note, which later pipelines change.
set -eu

: "${CI_API_V4_URL:?}" "${CI_MERGE_REQUEST_PROJECT_ID:?}" "${CI_MERGE_REQUEST_IID:?}"
: "${GITVS_NOTE_TOKEN:?is a project access token with role Reporter and scope api}"
reports=${1:?is the folder of the report}
marker='<!-- gitvs plan -->'
notes=/projects/$CI_MERGE_REQUEST_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# api METHOD PATH [ARGUMENT OF CURL…]; the token is on no command line.
api() {
    method=$1 url=$CI_API_V4_URL$2
    shift 2
    printf 'PRIVATE-TOKEN: %s\n' "$GITVS_NOTE_TOKEN" |
        curl --silent --show-error --fail-with-body --max-time 60 --request "$method" \
            --header @- --header 'Content-Type: application/json' "$@" "$url"
}

if [ "$(head -n 1 "$reports/plan.md")" != "$marker" ]; then
    echo 'gitvs note: plan.md is no report of gitvs plan' >&2
    exit 1
fi

footer="Commit ${CI_COMMIT_SHA:-unknown}${CI_PIPELINE_URL:+, [pipeline]($CI_PIPELINE_URL)}"
jq --null-input --rawfile report "$reports/plan.md" --arg footer "$footer" \
    '{body: ($report + "\n\n---\n\n" + $footer)}' >"$work/body"

api GET /user >"$work/user"
me=$(jq .id "$work/user")
id='' page=1
while [ -z "$id" ]; do
    api GET "$notes?per_page=100&page=$page" >"$work/notes"
    id=$(jq -r --arg marker "$marker" --argjson me "$me" '
        map(select(.author.id == $me and ((.body // "") | startswith($marker))))
        | .[0].id // empty' "$work/notes")
    [ "$(jq length "$work/notes")" = 100 ] || break
    page=$((page + 1))
done

if [ -n "$id" ]; then
    api PUT "$notes/$id" --data-binary "@$work/body" >"$work/answer"
else
    api POST "$notes" --data-binary "@$work/body" >"$work/answer"
fi
jq -r '"Noted: \(.id)"' "$work/answer"
