"""Which real servers serve, by their health checks. Pure.

In reading order: `messages` (what the checker process is asked, and what it says), `frames` (those
as bytes), `check_states`
(the run of one check of one real server, and its standing), `verdicts` (whether the real servers
of one virtual service are up), `judgement` (which of them serve), `tracked_service` (both of one
virtual service), `probes` (what is checked, and for whom), `own_failure` (whether this host itself
is the cause), `serving` (who does not serve, and desired state with that on top), `tracker` (all
of it for one director), `records` (what a restart must know).
"""
