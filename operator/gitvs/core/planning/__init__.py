"""Plans safe changes from one state to another.

In reading order: `plan` (diff and order), `overlay` (drains on top of the desired state),
`operations` (what operators asked for), `ownership`, `gates`, `repairs` (which changes are
repairs), `unsupported` (what the host lacks), `proposal` (the plan of one pass and what blocks
it), `undo`, `offline_proposal` (for previews), `risks`, `kernel_refusals` (an errno in words),
`records` (plans and states as JSON for the store).
"""
