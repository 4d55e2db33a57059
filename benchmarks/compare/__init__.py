"""One build beside another, pair after pair."""
