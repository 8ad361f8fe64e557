"""One pass on one kernel: plan, apply as a transaction, verify; and recovery from a crash.

In reading order: `one_pass`, `transaction`, `undo`, `results`, `partial_reading`, `restore` (after
a reboot), `teardown`, `director_status` (a director's status from its store and kernel).
"""
