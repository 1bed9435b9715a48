"""What is read next, and what will it cost? Pure: settings, state and time in, work out."""
