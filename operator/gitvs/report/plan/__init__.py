"""Plans and previews.

In reading order: `plan_view` (one plan, ready to be shown), `plan_text`, `plan_json`,
`removals` (what leaves), `health_view` (what changes about health checks), `preview_view` (several
directors), `preview_text`, `preview_words`, `preview_findings`, `service_view`, `server_row`,
`pass_text` (how a pass ended).
"""
