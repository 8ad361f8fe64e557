"""The status and the history of a director.

In reading order: `status_text`, `headline` (its first line), `services_table`, `health_text`,
`health_table` (of `gitvs health`), `check` (one line for monitoring systems), `status_json`,
`health_json`, `history_text`, `history_json`, `change_counts` (of both).
"""
