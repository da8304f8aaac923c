"""The peer: a Django application that pushes with signals, Channels, Redis and Daphne, as their manuals say."""
