"""Holdfast: reservations that hold."""
