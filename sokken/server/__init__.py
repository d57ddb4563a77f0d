"""`sokken server`: lets tunnels in and dials their targets."""
