"""The pure core: no input, no output, no clock.

`model` (what a director has or should have), `manifests` (what people write, and what it
means for one director), `planning` (from one state to another), `health` (which real servers
serve), `status` (what is shown about a director); and `settings`, `errors`, `problems`,
`allowances` (what commit messages let through), `checkpoint`, `durations`, `remote_url`.
"""
