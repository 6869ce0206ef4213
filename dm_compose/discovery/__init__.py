"""Which mounts of a Compose project are its state, and why. Pure: it asks nobody and changes nothing."""
