"""Consultations: who is in, who waits, what they may do, and what has happened."""
