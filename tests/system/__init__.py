"""Tests of the shipped unit files under a real systemd, with the wheel installed."""
