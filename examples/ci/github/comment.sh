#!/bin/sh
# Puts the report in the folder $1 on its pull request: one comment, which later runs change.
#
# It has a token, and the report may come from a stranger's pull request. So nothing of it is
# run, only regular files of the expected shape are read, and the comment goes to a pull
# request whose head is the very commit that the run was about.
set -eu

: "${GITHUB_API_URL:?}" "${GITHUB_REPOSITORY:?}" "${GITHUB_TOKEN:?}"
: "${HEAD_REPOSITORY:?is the repository that the run was about}"
: "${HEAD_SHA:?is the commit that the run was about}"
reports=${1:?is the folder of the report}
marker='<!-- gitvs plan -->'
author=${COMMENT_AUTHOR:-github-actions[bot]}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "gitvs comment: $1" >&2
    exit 1
}

# api METHOD PATH [ARGUMENT OF CURL…]; the token is on no command line.
api() {
    method=$1 url=$GITHUB_API_URL/repos/$GITHUB_REPOSITORY$2
    shift 2
    printf 'Authorization: Bearer %s\n' "$GITHUB_TOKEN" |
        curl --silent --show-error --fail-with-body --max-time 60 --request "$method" \
            --header @- --header 'Accept: application/vnd.github+json' "$@" "$url"
}

for name in plan.md pull-request; do
    if [ ! -f "$reports/$name" ] || [ -L "$reports/$name" ]; then
        fail "the report has no file $name"
    fi
done
number=$(head -c 16 "$reports/pull-request")
case $number in
'' | *[!0-9]*) fail 'the report names no pull request' ;;
esac
[ "$(head -n 1 "$reports/plan.md")" = "$marker" ] || fail 'plan.md is no report of gitvs plan'

api GET "/pulls/$number" >"$work/pull"
head=$(jq -r '"\(.head.repo.full_name) \(.head.sha)"' "$work/pull")
if [ "$head" != "$HEAD_REPOSITORY $HEAD_SHA" ]; then
    echo "Pull request $number is at another commit by now: its own run will comment on it."
    exit 0
fi

# Not --raw-input: jq 1.6 spoils characters with it that begin at the end of its buffer.
footer="Commit $HEAD_SHA${RUN_URL:+, [run]($RUN_URL)}"
jq --null-input --rawfile report "$reports/plan.md" --arg marker "$marker" \
    --arg footer "$footer" --argjson longest 65536 '
    def commented: . + "\n\n---\n\n" + $footer;
    if ($report | commented | length) <= $longest then $report else
        $marker + "\n## gitvs plan\n\nThe report is too long for a comment."
    end | {body: commented}' >"$work/body"

id='' page=1
while [ -z "$id" ]; do
    api GET "/issues/$number/comments?per_page=100&page=$page" >"$work/comments"
    id=$(jq -r --arg marker "$marker" --arg author "$author" '
        map(select(.user.login == $author and ((.body // "") | startswith($marker))))
        | .[0].id // empty' "$work/comments")
    [ "$(jq length "$work/comments")" = 100 ] || break
    page=$((page + 1))
done

if [ -n "$id" ]; then
    api PATCH "/issues/comments/$id" --data-binary "@$work/body" >"$work/answer"
else
    api POST "/issues/$number/comments" --data-binary "@$work/body" >"$work/answer"
fi
jq -r '"Commented: \(.html_url)"' "$work/answer"
