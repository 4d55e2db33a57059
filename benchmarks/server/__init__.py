"""A server under load: closed loop, open loop, mixed sizes, and the highest rate that meets an SLO."""
