"""Git: a remote is fetched into a bare copy, and manifests are read from Git objects.

In reading order: `remote` (fetch one branch), `fetch_errors` (why that failed), `local_copy` (the
bare repository), `signatures`, `manifests` (the files of one commit), `commits` (the port
`Commits`), `objects`, `object_reader`, `parse_commit`, `find_repository`, `sparse_checkout` (what a
work tree lacks), `hardened_git` (how Git is started).
"""
