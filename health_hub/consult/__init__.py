"""Video consultations: who may join which, the way to the relay, and what is kept of one."""
