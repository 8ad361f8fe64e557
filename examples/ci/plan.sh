#!/bin/sh
# Compares the commits BASE and HEAD, and writes plan.md and plan.html into the folder REPORTS.
# Arguments are passed on to `gitvs plan`: more formats, each with its --out.
# It ends with the exit code of gitvs: 3 blocked by a gate, 4 invalid manifests.
set -u

: "${BASE:?is the commit to compare with}" "${HEAD:?is the commit to look at}"
MANIFESTS=${MANIFESTS:-manifests}
REPORTS=${REPORTS:-reports}

rm -f "$REPORTS/plan.md" "$REPORTS/plan.html"
mkdir -p "$REPORTS" || exit 1

gitvs plan "$MANIFESTS" --base "$BASE" --head "$HEAD" \
    --format markdown --out "$REPORTS/plan.md" \
    --format html --out "$REPORTS/plan.html" \
    "$@"
code=$?

# Without a report, the comment of an older run would stand as if it were still true.
if [ ! -s "$REPORTS/plan.md" ]; then
    printf '%s\n' '<!-- gitvs plan -->' '## gitvs plan: failed' '' \
        "\`gitvs plan\` ended with exit code $code, and without a report. Its log says why." \
        >"$REPORTS/plan.md"
fi
exit "$code"
