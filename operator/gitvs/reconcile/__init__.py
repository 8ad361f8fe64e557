"""One pass on one kernel: plan, apply as a transaction, verify; and recovery from a crash.

In reading order: `one_pass`, `repair_memory` (what could not be repaired), `quarantine` (commits
that failed here), `transaction`, `forward_phases`, `undo`, `results`, `store_age` (is the store
older than the kernel?), `partial_reading`, `restore` (after a reboot), `teardown`,
`director_status` (a director's status from its store and kernel).
"""
