"""Folders on disk.

In reading order: `directory_source` (manifests in a folder), `followed_folder` (that folder as an
agent follows it), `directory_watch` (its changes), `file_cache_storage` (the cache of previews),
`work_tree`, `director_names` (for completion).
"""
