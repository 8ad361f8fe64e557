"""Random inputs: only the errors that are meant for them may come out.

`make test` tries the same few hundred of each kind every time, `make fuzz` thousands of others.
"""
