"""gitvs as a service of a host.

In reading order: `settings_file`, `systemd` (readiness, watchdog, journal), `log_fields`,
`control_socket`, `http_server`, `metrics_server`, `status_metrics`, `health_metrics`, `push_hook`,
`push_signatures`, `installation` (unit files), `systemctl`.
"""
