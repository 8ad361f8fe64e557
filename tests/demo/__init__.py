"""`make demo`: the story of a director, from a commit to packets, told on a real kernel.

Everything that it shows is true: the commands are run, their output is theirs, the client's
answers come from real servers in network namespaces. What it claims it checks, and it fails
where a claim does not hold.
"""
