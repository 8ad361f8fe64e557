"""The daemon that follows a Git repository on one director.

In reading order: `daemon` (the worker), `cycle` (what one cycle does: choose a commit, run
passes), `cycle_result`, `judge` (reads commits in its own thread), `work_queue`, `triggers`
(what starts a cycle, and when), `fetcher` (its own thread), `fetch_results`, `control_requests`,
`actions` (what operators ask for), `reporting` (status, log, metrics), `timed_work` (what the
agent looks at again by itself), `write_lock`, and `health` (who serves, by the checks).
"""
