"""Manifests: from the bytes of files to the desired state of one director.

In reading order: `load` (all files of a commit, or all problems), `load_run` (one load in
progress), `syntax` (bytes to documents with positions), `schema`, `messages` (schema errors in
words), `parse_values`, `parse_services`, `parse_directors` (documents to `types`), `defaults`,
`placement` (which directors a Service is on), `rules` (what no schema can check), `render`,
`files`, `file_cache`.
"""
