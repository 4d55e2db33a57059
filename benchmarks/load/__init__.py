"""The one way to put a server under load, to check its answers, and to read what the load cost it."""
