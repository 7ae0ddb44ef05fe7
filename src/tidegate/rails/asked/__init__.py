"""What rails share that ask models or services: how they ask, what they know, what they remember."""
