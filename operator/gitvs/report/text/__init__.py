"""What all reports share.

`lines`, `tables` and `times` lay text out; `counts`, `fields`, `changes` and `operations` put
values into words; `problems` and `findings` (the formats of forges) show problems, `places` where
they are.
"""
