"""The rules that no schema can check; each yields every problem that it finds.

In reading order: `single_documents`, `health_checks`, `references` (names and selectors),
`object_counts`, `between_services`, `real_servers`, `owners`, `unread_manifests`, `prefix_index`,
`claims` (may services that changed conflict with others?), `all_rules`.
"""
