"""Worlds of vendors, rivals and planners in virtual time. See docs/simulator.md."""
